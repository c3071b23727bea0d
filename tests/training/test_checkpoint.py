"""Checkpoints: complete or absent, verified before use, the best and the last two kept."""

from __future__ import annotations

import logging

import pytest

from finetune.errors import ArtefactError
from finetune.runs import storage
from finetune.training import checkpoint


def make(folder, step, **facts):
    """Commit a checkpoint of two files."""
    staged = folder / ".saving"
    (staged / "inner").mkdir(parents=True)
    (staged / "model.safetensors").write_bytes(bytes(range(200)) * 50)
    (staged / "inner" / "state.json").write_text(f'{{"step": {step}}}')
    checkpoint.commit(staged, folder / f"step-{step}", {"step": step, **facts})
    return folder / f"step-{step}"


def truncate(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def remove(path):
    path.unlink()


def replace_by_link(path):
    other = path.with_name("elsewhere")
    path.rename(other)
    path.symlink_to(other)


DAMAGES = [truncate, flip_a_bit, remove, replace_by_link]


def test_a_committed_checkpoint_verifies_and_leaves_no_staging(tmp_path):
    folder = make(tmp_path, 3)
    assert checkpoint.problem_with(folder) is None
    assert checkpoint.newest_valid(tmp_path) == folder
    assert [entry.name for entry in tmp_path.iterdir()] == ["step-3"]


def test_committing_again_replaces_the_whole_checkpoint(tmp_path):
    folder = make(tmp_path, 3)
    (folder / "stale").write_text("x")
    make(tmp_path, 3)
    assert not (folder / "stale").exists()
    assert checkpoint.problem_with(folder) is None


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", ["model.safetensors", "inner/state.json", "manifest.json"])
def test_a_damaged_checkpoint_is_set_aside_with_a_warning_and_the_previous_used(
    tmp_path, caplog, damage, file
):
    good, bad = make(tmp_path, 3), make(tmp_path, 12)
    if file == "manifest.json" and damage in (flip_a_bit, replace_by_link):
        pytest.skip("a manifest whose hashes still say what is there harms nobody")
    damage(bad / file)
    with caplog.at_level(logging.WARNING):
        assert checkpoint.newest_valid(tmp_path) == good
    assert not bad.exists()
    assert (tmp_path / ".bad-step-12").is_dir()
    assert "step-12 is not used" in caplog.text
    assert "going on from step-3" in caplog.text


@pytest.mark.parametrize("damage", DAMAGES)
def test_when_no_checkpoint_is_valid_the_run_stops_and_nothing_is_moved(tmp_path, damage):
    for step in (3, 12):
        damage(make(tmp_path, step) / "model.safetensors")
    with pytest.raises(ArtefactError) as caught:
        checkpoint.newest_valid(tmp_path)
    assert caught.value.exit_code == 4
    assert len(caught.value.problems) == 3
    assert "run.overwrite=true" in caught.value.fix
    assert {entry.name for entry in tmp_path.iterdir()} == {"step-3", "step-12"}


def test_a_checkpoint_of_another_run_is_set_aside(tmp_path, caplog):
    own, other = make(tmp_path, 3, base="a"), make(tmp_path, 12, base="b")
    wrong = lambda manifest: "it is another run's" if manifest["base"] != "a" else None  # noqa: E731
    with caplog.at_level(logging.WARNING):
        assert checkpoint.newest_valid(tmp_path, wrong) == own
    assert not other.exists()
    assert "it is another run's" in caplog.text


def test_a_checkpoint_that_was_being_replaced_is_there_again(tmp_path):
    folder = make(tmp_path, 3)
    folder.rename(checkpoint.replaced(folder))
    assert checkpoint.newest_valid(tmp_path) == folder
    assert checkpoint.problem_with(folder) is None


def test_a_replacement_that_was_nearly_done_is_finished(tmp_path):
    folder = make(tmp_path, 3)
    make(tmp_path / "other", 3, newer=True)
    folder.rename(checkpoint.replaced(folder))
    (tmp_path / "other" / "step-3").rename(folder)
    assert checkpoint.newest_valid(tmp_path) == folder
    assert storage.read_json(folder / "manifest.json")["newer"]
    assert not checkpoint.replaced(folder).exists()


def test_one_of_two_checkpoints_of_a_step_is_there_at_any_moment(tmp_path, monkeypatch):
    make(tmp_path, 3)
    replace, moments = type(tmp_path).replace, []

    def look():
        there = [e for e in tmp_path.iterdir() if not e.name.startswith(".saving")]
        moments.append([e.name for e in there if checkpoint.problem_with(e) is None])

    def watched(self, target):
        look()
        replace(self, target)
        look()

    monkeypatch.setattr(type(tmp_path), "replace", watched)
    make(tmp_path, 3)
    assert len(moments) >= 4
    assert all(set(names) & {"step-3", ".replaced-step-3"} for names in moments)


def test_newest_is_by_number_not_by_name(tmp_path):
    make(tmp_path, 9)
    assert checkpoint.newest_valid(make(tmp_path, 10).parent) == tmp_path / "step-10"


@pytest.mark.parametrize("content", ["{}", "[]", '{"files": {}}', '{"files": {"a": 1}}', "\x00"])
def test_a_manifest_that_says_nothing_of_its_files_is_no_proof(tmp_path, content):
    folder = make(tmp_path, 1)
    (folder / "manifest.json").write_text(content)
    assert checkpoint.problem_with(folder) == "manifest.json is not readable"


def test_no_checkpoint_is_no_error(tmp_path):
    assert checkpoint.newest_valid(tmp_path / "none") is None
    assert checkpoint.newest_valid(tmp_path) is None


def test_what_was_being_written_is_no_checkpoint(tmp_path):
    (tmp_path / ".saving" / "checkpoint-9").mkdir(parents=True)
    (tmp_path / "step-x").mkdir()
    assert checkpoint.all_in(tmp_path) == []


def test_rotation_keeps_the_best_and_the_last_two(tmp_path):
    for step in (1, 2, 3, 4, 5):
        make(tmp_path, step)
    checkpoint.rotate(tmp_path, keep=1, best=2)
    assert [entry.name for entry in checkpoint.all_in(tmp_path)] == ["step-2", "step-4", "step-5"]


def test_rotation_keeps_as_many_as_asked(tmp_path):
    for step in (1, 2, 3, 4, 5):
        make(tmp_path, step)
    checkpoint.rotate(tmp_path, keep=4, best=None)
    assert len(checkpoint.all_in(tmp_path)) == 4


def test_a_checkpoint_tells_whether_training_was_over(tmp_path):
    assert not checkpoint.has_ended(make(tmp_path, 1))
    assert checkpoint.has_ended(make(tmp_path, 2, ended=True))


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    folder = make(tmp_path, 3)

    def full(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage, "sync_tree", full)
    with pytest.raises(Exception, match="disk is full"):
        make(tmp_path, 4)
    assert checkpoint.newest_valid(tmp_path) == folder


def test_weights_are_written_without_pickles(tmp_path):
    import torch

    checkpoint.write_weights(torch.nn.Linear(2, 2), tmp_path / "plain")
    assert [file.name for file in (tmp_path / "plain").iterdir()] == ["model.safetensors"]
