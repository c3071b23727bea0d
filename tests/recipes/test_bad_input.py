"""Bad input: one sentence each with what to do, the exit code of its kind, and nothing lost."""

from __future__ import annotations

import os
import shutil
import subprocess
from importlib import resources
from pathlib import Path

import pytest

from finetune.runs import storage
from finetune.runs.folder import RunFolder
from tests.stages.finished import BERT, CLIP, T5, WHISPER, arguments, copy_of, finished, say

ROWS = "".join(f"text number {n},{'ab'[n % 2]}\n" for n in range(40))


def refused(tag, folder, *more, code, says):
    """Run a command that must be refused; check code, sentence and that inputs are as they were."""
    before = {f: f.read_bytes() for f in folder.rglob("*") if f.is_file()}
    said = say(*arguments(tag, folder / "runs", *more))
    assert said.code == code, said.err
    problems = said.problems()
    assert any(says in problem for problem in problems), said.err
    assert all(file.read_bytes() == content for file, content in before.items())
    error = folder / "runs" / "case" / "error.json"
    if error.is_file():
        assert storage.read_json(error)["code"] == code
    return said


def write(folder, text, name="rows.csv"):
    (folder / name).write_text(text)
    return folder / name


def test_a_missing_file(tmp_path):
    refused(BERT, tmp_path, f"data.path={tmp_path}/mial.csv", code=3, says="mial.csv")


def test_a_missing_file_beside_one_of_a_similar_name_is_guessed(tmp_path):
    write(tmp_path, "text,label\n" + ROWS, "mail.csv")
    said = refused(BERT, tmp_path, f"data.path={tmp_path}/mial.csv", code=3, says="mial.csv")
    assert "mail.csv" in said.err


def test_an_unknown_column_names_those_that_are_there(tmp_path):
    file = write(tmp_path, "body,queue\n" + ROWS)
    said = refused(BERT, tmp_path, f"data.path={file}", "data.columns.text=boddy",
                   "data.columns.label=queue", code=3, says="boddy")  # fmt: skip
    assert "body" in said.err


def test_a_label_in_the_test_that_training_has_not_seen(tmp_path):
    train = write(tmp_path, "text,label\n" + ROWS, "train.csv")
    test = write(tmp_path, "text,label\nsome text,a\nother text,zebra\n", "test.csv")
    refused(BERT, tmp_path, f"data.train={train}", f"data.test={test}", code=3, says="zebra")


def test_an_empty_split(tmp_path):
    train = write(tmp_path, "text,label\n" + ROWS, "train.csv")
    test = write(tmp_path, "text,label\n", "test.csv")
    refused(BERT, tmp_path, f"data.train={train}", f"data.test={test}", code=3, says="test.csv")


def test_too_few_rows_to_split(tmp_path):
    file = write(tmp_path, "text,label\nx,a\ny,b\n")
    refused(BERT, tmp_path, f"data.path={file}", code=3, says="")


def test_a_value_of_a_wrong_type(tmp_path):
    rows = '{"text": "fine", "label": "a"}\n' * 20 + '{"text": {"no": "text"}, "label": "b"}\n' * 2
    file = write(tmp_path, rows, "rows.jsonl")
    refused(BERT, tmp_path, f"data.path={file}", code=3, says="text")


def test_a_setting_of_a_wrong_type(tmp_path):
    refused(BERT, tmp_path, "train.learning_rate=fast", code=2, says="train.learning_rate")


def test_all_problems_of_the_configuration_are_said_at_once(tmp_path):
    said = refused(BERT, tmp_path, "train.lerning_rate=1", "strategy.r=-3", "evaluate.confidence=7",
                   code=2, says="lerning_rate")  # fmt: skip
    assert len(said.problems()) == 3
    assert "learning_rate" in said.err


@pytest.mark.parametrize(
    ("tag", "column", "name"), [(CLIP, "image", "a.png"), (WHISPER, "audio", "a.wav")]
)
def test_a_picture_or_a_sound_that_cannot_be_read_is_named(tmp_path, tag, column, name):
    write(tmp_path, "this is not media", name)
    rows = f'{{"{column}": "{name}", "text": "one two"}}\n' * 20
    file = write(tmp_path, rows, "rows.jsonl")
    said = refused(tag, tmp_path, f"data.path={file}", "data.slices=[]", code=3, says="")
    assert "rows.jsonl:1" in said.err
    assert "data.on_invalid=drop" in said.err


def test_fewer_labels_than_rows(tmp_path):
    file = write(tmp_path, "text,label\n" + ROWS + "a text without its label\n")
    said = refused(BERT, tmp_path, f"data.path={file}", code=3, says="")
    assert ":41" in said.err or "42" in said.err


def test_an_empty_target(tmp_path):
    file = write(
        tmp_path, "source,target\n" + "".join(f"s {n},t {n}\n" for n in range(30)) + "s,\n"
    )
    refused(T5, tmp_path, f"data.path={file}", "data.slices=[]", code=3, says="rows.csv:32")


def test_a_model_folder_with_pickled_weights_only(tmp_path):
    import torch

    base = Path(str(resources.files("finetune") / "models" / "tiny" / "bert"))
    shutil.copytree(base, tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").unlink()
    torch.save({}, tmp_path / "model" / "pytorch_model.bin")
    refused(
        BERT, tmp_path, f"model.name_or_path={tmp_path}/model", code=4, says="pytorch_model.bin"
    )


def test_a_model_folder_that_is_not_there(tmp_path):
    said = say(*arguments(BERT, tmp_path, f"model.name_or_path={tmp_path}/model"))
    assert said.code == 2
    assert "does not exist" in said.problems()[0]
    assert "config.json" in said.err


def test_a_finished_run(tmp_path):
    run = copy_of(finished(BERT), tmp_path)
    before = {f: f.read_bytes() for f in run.path.rglob("*") if f.is_file() and f.name != ".lock"}
    said = say(*arguments(BERT, tmp_path))
    assert said.code == 2
    assert "finished run" in said.problems()[0]
    assert all(file.read_bytes() == content for file, content in before.items())


def test_a_run_folder_in_use_by_another_process(tmp_path):
    holder = RunFolder(tmp_path / "case")
    holder.lock()
    try:
        said = say(*arguments(BERT, tmp_path))
    finally:
        holder.unlock()
    assert said.code == 7
    assert "in use by process" in said.problems()[0]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=False)


def test_no_disk_space_then_space_and_the_same_command_goes_on(small_disk):
    said = say(*arguments(BERT, small_disk, "strategy=full"))
    assert said.code == 6, said.err
    assert "disk is full" in said.problems()[0]
    assert "Free some space" in said.err
    subprocess.run(["mount", "-o", "remount,size=200m", str(small_disk)], check=True)
    assert say(*arguments(BERT, small_disk, "strategy=full")).code == 0


@pytest.mark.parametrize("number", [28, 122])
def test_a_full_disk_while_a_checkpoint_is_written_loses_nothing(tmp_path, monkeypatch, number):
    from finetune.training import checkpoint

    write_weights = checkpoint.write_weights
    steps = []

    def full(model, folder, state_dict=None):
        steps.append(folder.name)
        if len(steps) == 2:
            raise OSError(number, os.strerror(number))
        write_weights(model, folder, state_dict)

    monkeypatch.setattr(checkpoint, "write_weights", full)
    often = ("train.eval_strategy=steps", "train.eval_steps=1")
    said = say(*arguments(BERT, tmp_path, *often))
    assert said.code == 6, said.err
    run = RunFolder(tmp_path / "case")
    assert checkpoint.newest_valid(run.checkpoints) == run.checkpoints / "step-1"
    assert storage.read_json(run.error)["code"] == 6
