"""Resume with anything changed is refused in a table (A19); signals end every stage cleanly."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import finetune
from finetune.errors import ConfigError
from finetune.models import source
from finetune.runs import changes, storage
from finetune.runs.folder import RunFolder
from finetune.runs.identity import identity, stranger
from tests.contracts.cases import RECIPES
from tests.stages.finished import BERT, QUICK, arguments, copy_of, finished, say

ROOT = Path(__file__).parents[2]
LINES = [f"{word} number {n},{word}" for n in range(15) for word in ("yes", "no")]


def table(lines):
    return "text,label\n" + "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory):
    """A run of one's own file and one's own base, trained, with the later stages undone."""
    folder = tmp_path_factory.mktemp("identity")
    (folder / "mail.csv").write_text(table(LINES))
    shutil.copytree(source.resolve("package:finetune/models/tiny/bert").folder, folder / "base")
    said = say(*command(folder))
    assert said.code == 0, said.err
    RunFolder(folder / "case").forget_stages(["export", "evaluate", "report"])
    return folder


def command(folder, *more):
    recipe, model = RECIPES[BERT]
    return [
        f"recipe={recipe}", f"model={model}", f"model.name_or_path={folder}/base", "name=case",
        f"run.dir={folder}", f"data.path={folder}/mail.csv", "data.slices=[]", "model.sha256=null",
        "data.columns={text: text, label: label}", *QUICK, *more,
    ]  # fmt: skip


@pytest.fixture
def folder(trained_once, tmp_path, monkeypatch):
    """The same in a folder of the test's own, named relatively so that the paths are the same."""
    here = tmp_path / "here"
    shutil.copytree(trained_once, here)
    run = RunFolder(here / "case")
    for file in (run.manifest_file, run.config):
        file.write_text(file.read_text().replace(str(trained_once), str(here)))
    return here


def refused(said, *words):
    assert said.code == 2, said.err
    problems = said.problems()
    assert len(problems) == 1
    lines = said.err.splitlines()
    assert any(line.split() == ["key", "was", "now"] for line in lines), said.err
    for word in words:
        assert any(word in line for line in lines), (word, said.err)
    for way in ("name=NAME", "run.overwrite=true", "run.allow_changes="):
        assert way in said.err


def test_every_kind_of_change_is_refused_in_one_table_and_nothing_is_touched(folder):
    (folder / "mail.csv").write_text(table([*LINES[:-1], "no number 99,no"]))
    config = folder / "base" / "tokenizer_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "changed": True}))
    before = {f: f.read_bytes() for f in (folder / "case").rglob("*") if f.is_file()}
    said = say(*command(folder, "train.learning_rate=0.004", "train.global_batch_size=4", "seed=3"))
    refused(said, "train.learning_rate", "train.global_batch_size", "seed", "data: path:mail.csv",
            "model: tokenizer_config.json")  # fmt: skip
    assert "number 99" not in said.err
    assert max(len(line) for line in said.err.splitlines() if line.startswith("    ")) <= 100
    after = {f: f.read_bytes() for f in (folder / "case").rglob("*") if f.is_file()}
    assert {f.name for f in before.keys() | after.keys() if before.get(f) != after.get(f)} <= {
        ".lock"
    }


def test_an_allowed_change_goes_on_and_is_recorded_and_free_keys_need_no_permission(folder):
    checkpoint = identity(RunFolder(folder / "case"))
    (folder / "mail.csv").write_text(table(LINES[:-2]))
    changed = ("train.learning_rate=0.004", "train.save_total_limit=5", "train.logging_steps=2")
    permission = "run.allow_changes=[train.learning_rate,data]"
    said = say("prepare", *command(folder, *changed, permission))
    assert said.code == 0, said.err
    run = RunFolder(folder / "case")
    recorded = {each["key"]: each for each in run.manifest()["allowed_changes"]}
    assert set(recorded) == {"train.learning_rate", "data: path:mail.csv"}
    assert recorded["train.learning_rate"]["new"] == 0.004
    assert stranger(checkpoint, run) is None
    assert len(run.manifest()["attempts"]) == 2
    kept = yaml.safe_load(run.config.read_text())
    assert kept["train"]["learning_rate"] == 0.004
    assert kept["run"]["allow_changes"] == []  # a permission is for one attempt
    run.forget_stages(["report"])
    assert say("prepare", *command(folder, *changed, permission)).code == 0  # the same command
    assert say("prepare", *command(folder, *changed)).code == 0
    refused(say("prepare", *command(folder)), "train.learning_rate")


def test_a_permission_that_names_nothing_is_refused(folder):
    said = say(*command(folder, "run.allow_changes=[train.learning_rte]"))
    assert said.code == 2
    assert "did you mean `train.learning_rate`" in said.problems()[0]


def test_overwriting_is_not_repeated_when_the_folder_is_replayed(folder):
    assert say("prepare", *command(folder, "run.overwrite=true")).code == 0
    marker = folder / "case" / "marker"
    marker.touch()
    assert say("prepare", f"run={folder / 'case'}").code == 0
    assert marker.exists()


def test_a_source_that_is_gone_is_said_and_the_prepared_rows_are_used(folder):
    (folder / "mail.csv").unlink()
    said = say("prepare", *command(folder))
    assert said.code == 0, said.err
    assert "data.path cannot be compared" in said.err


@pytest.mark.parametrize("file", ["train.parquet", "encoded/train.arrow"])
def test_prepared_rows_that_changed_after_training_exit_4(folder, file):
    path = folder / "case" / "data" / file
    path.write_bytes(path.read_bytes()[:-1])
    said = say(*command(folder))
    assert said.code == 4
    assert file in said.problems()[0]


def test_prepared_rows_that_changed_before_training_are_made_anew_with_the_same_bytes(folder):
    run = RunFolder(folder / "case")
    run.forget_stages(["train"])
    storage.remove_tree(run.checkpoints)
    path = run.data / "train.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    said = say("prepare", *command(folder))
    assert said.code == 0, said.err
    assert path.read_bytes() == whole


def test_other_versions_are_said_in_one_line_and_recorded(folder):
    run = RunFolder(folder / "case")
    run.forget_stages(["train"])
    [attempt] = run.manifest()["attempts"]
    older = {**attempt, "versions": {**attempt["versions"], "torch": "1.0"}}
    run.record(attempts=[older])
    said = say("prepare", *command(folder))
    assert said.code == 0
    [line] = [line for line in said.err.splitlines() if "not bit-identical" in line]
    assert "torch 1.0 → " in line
    versions = [each["versions"]["torch"] for each in run.manifest()["attempts"]]
    assert versions == ["1.0", attempt["versions"]["torch"]]


@pytest.mark.parametrize("content", ["", '{"stages": {', "[]"])
def test_a_damaged_manifest_exits_4_and_deletes_nothing(folder, content):
    run = RunFolder(folder / "case")
    run.manifest_file.write_text(content)
    said = say(*command(folder))
    assert said.code == 4
    assert "manifest.json" in said.problems()[0]
    assert list(run.checkpoints.glob("step-*"))


def test_a_cut_config_yaml_is_written_again_by_the_same_command_and_refused_by_a_replay(folder):
    run = RunFolder(folder / "case")
    whole = run.config.read_text()
    run.config.write_text(whole[: len(whole) // 2])
    assert say("prepare", f"run={run.path}").code == 2
    assert say("prepare", *command(folder)).code == 0
    assert run.config.read_text() == whole


def test_other_rows_through_the_python_api_are_refused_and_the_same_go_on(tmp_path, monkeypatch):
    from finetune.stages import job

    rows = [{"text": line.split(",")[0], "label": line.split(",")[1]} for line in LINES]
    recipe, model = RECIPES[BERT]
    asked = [recipe, f"model={model}", f"run.dir={tmp_path}", "name=r", *QUICK, "data.slices=[]"]

    class StoppedError(Exception):
        pass

    def stop(*_, **__):
        raise StoppedError

    monkeypatch.setattr(job, "say_data", stop)
    with pytest.raises(StoppedError):
        finetune.run(*asked, rows=rows)
    with pytest.raises(ConfigError, match="rows:all"):
        finetune.run(*asked, rows=[*rows[:-1], {"text": "other", "label": "no"}])
    monkeypatch.setattr(job, "settle_checkpoints", stop)
    monkeypatch.setattr(job.devices, "world", lambda: (0, 2))
    with pytest.raises(StoppedError):  # reached after prepare was found done
        finetune.run(*asked, rows=rows)


STALL = """
import sys, time
sys.argv = ["finetune", *{arguments!r}]
from finetune import cli
import {module} as module
real = module.{name}
def stalled(*a, **k):
    print("stalled", flush=True)
    while True: time.sleep(0.05)
module.{name} = stalled
cli.main()
"""
STAGES = {
    # where each stage stands still: its first files are written, and its last are not
    "prepare": ("finetune.stages.prepare", "hashes"),
    "export": ("finetune.models.parity", "outputs_of_folder"),
    "evaluate": ("finetune.runs.storage", "write_jsonl"),
}


def stalled(asked, stage):
    """Start the real command line in a process that stands still in the midst of a stage."""
    module, name = STAGES[stage]
    code = STALL.format(arguments=asked, module=module, name=name)
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env={**os.environ, "HF_HUB_OFFLINE": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "stalled\n", process.communicate()[1]
    return process


def contents(run):
    """Hash what an uninterrupted run and an interrupted one must have in common."""
    folders = [run.path / name for name in ("data", "merged", "adapter", "eval")]
    found = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    files = [file for file in found if file.name != "README.md"]  # the card says when and how
    return {
        f.relative_to(run.path).as_posix(): hashlib.sha256(f.read_bytes()).hexdigest()
        for f in files
    }


@pytest.mark.parametrize(
    ("stage", "name", "code"),
    [
        pytest.param("prepare", "SIGTERM", 143, marks=pytest.mark.slow),
        pytest.param("export", "SIGTERM", 143, marks=pytest.mark.slow),
        pytest.param("export", "SIGINT", 130, marks=pytest.mark.slow),
        ("evaluate", "SIGTERM", 143),
    ],
)  # fmt: skip
def test_a_signal_ends_a_stage_in_a_sentence_and_the_same_command_ends_alike(
    tmp_path, stage, name, code
):
    whole = finished(BERT)
    if stage == "prepare":
        run, asked = RunFolder(tmp_path / "case"), ["prepare", *arguments(BERT, tmp_path)]
    else:
        run = copy_of(whole, tmp_path)
        asked = [f"run={run.path}"]
        again = {"export": (run.merged, run.adapter, run.evaluation), "evaluate": (run.evaluation,)}
        run.forget_stages(changes.AFTERWARDS[stage])
        for folder in again[stage]:
            storage.remove_tree(folder)
    process = stalled(asked, stage)
    process.send_signal(signal.Signals[name])
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert f"Stopped by {name} during {stage}." in err
    assert "The same command goes on from there." in err
    assert "Traceback" not in err
    assert not run.error.exists()
    left = {entry.name for entry in run.path.iterdir()}
    assert not left & {"prepare": {"data"}, "export": {"merged", ".merged.tmp", "adapter"},
                       "evaluate": {"eval"}}[stage]  # fmt: skip
    said = say(*asked)
    assert said.code == 0, said.err
    ours, theirs = contents(run), contents(whole)
    assert ours.items() <= theirs.items()
    assert stage == "prepare" or ours == theirs
