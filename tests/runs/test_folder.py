"""One process at a time works on a run folder; what is finished or foreign is not touched."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from finetune.errors import ArtefactError, ConfigError, DataError, LockedError, StorageError
from finetune.runs import folder as module
from finetune.runs.folder import STAGES, RunFolder

CONFIG = "name: x\nseed: 42\ntrain:\n  max_steps: 3\nevaluate:\n  max_rows: null\n"
ROOT = Path(module.__file__).parents[2]


@pytest.fixture
def run(tmp_path):
    found = RunFolder(tmp_path / "runs" / "x")
    yield found
    found.unlock()


def finish(run):
    for stage in STAGES:
        with run.stage(stage):
            pass


@pytest.fixture
def other(run):
    """Another process that holds the folder until it is killed."""
    code = (
        "import sys, time\nfrom finetune.runs.folder import RunFolder\n"
        f"RunFolder({str(run.path)!r}).claim({CONFIG!r})\n"
        "print('held', flush=True)\ntime.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_process_is_refused_at_once_with_who_holds_it(run, other):
    start = time.monotonic()
    with pytest.raises(LockedError) as caught:
        run.claim(CONFIG)
    assert time.monotonic() - start < 1
    assert caught.value.exit_code == 7
    [problem] = caught.value.problems
    assert f"process {other.pid} on {socket.gethostname()} since 20" in problem
    assert "name=NAME" in caught.value.fix


def test_a_refused_process_changes_nothing_even_when_it_would_overwrite(run, other):
    before = run.config.read_text("utf-8")
    with pytest.raises(LockedError):
        run.claim("name: y\n", overwrite=True)
    assert run.config.read_text("utf-8") == before
    with pytest.raises(LockedError, match=str(other.pid)):
        run.claim(CONFIG)


def test_after_kill_9_the_folder_is_free(run, other):
    other.send_signal(signal.SIGKILL)
    other.wait()
    run.claim(CONFIG)


def test_it_is_free_again_after_unlock_and_after_a_refused_claim(run):
    run.claim(CONFIG)
    finish(run)
    run.unlock()
    for _ in range(2):
        with pytest.raises(ConfigError):
            run.claim(CONFIG)
    run.claim(CONFIG, overwrite=True)


def test_a_file_system_without_locks_is_told_as_such(run, monkeypatch):
    def refuse(*args):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StorageError, match="cannot lock files"):
        run.claim(CONFIG)


def test_a_finished_run_is_refused_with_both_ways_out_and_left_as_it_is(run):
    run.claim(CONFIG)
    finish(run)
    run.unlock()
    before = run.manifest_file.read_bytes()
    with pytest.raises(ConfigError) as caught:
        run.claim(CONFIG)
    assert caught.value.exit_code == 2
    assert "name=NAME" in caught.value.fix
    assert "run.overwrite=true" in caught.value.fix
    assert run.manifest_file.read_bytes() == before
    assert not run.error.exists()


def test_a_run_in_which_nothing_was_finished_is_taken_over(run):
    run.claim(CONFIG)
    run.record(created_at="now", stages={})
    run.write_error(DataError("a mistake in the first command"))
    run.unlock()
    changed = CONFIG.replace("42", "7")
    run.claim(changed)
    assert run.config.read_text("utf-8") == changed
    assert not run.error.exists()
    assert "created_at" not in run.manifest()


def test_a_changed_configuration_is_refused_key_by_key(run):
    run.claim(CONFIG)
    with run.stage("prepare"):
        pass
    run.unlock()
    changed = CONFIG.replace("42", "7").replace("max_steps: 3", "max_steps: null")
    with pytest.raises(ConfigError) as caught:
        run.claim(changed)
    [problem] = caught.value.problems
    assert [line.split() for line in problem.splitlines()[1:]] == [
        ["key", "was", "now"],
        ["seed", "42", "7"],
        ["train.max_steps", "3", "null"],
    ]
    assert "run.overwrite=true" in caught.value.fix
    assert run.config.read_text("utf-8") == CONFIG


def test_settings_that_touch_nothing_trained_may_change_and_are_kept(run):
    run.claim(CONFIG)
    run.unlock()
    changed = CONFIG.replace("max_rows: null", "max_rows: 5")
    run.claim(changed)
    assert run.config.read_text("utf-8") == changed


def test_an_unfinished_run_of_the_same_configuration_goes_on(run):
    run.claim(CONFIG)
    with run.stage("prepare"):
        pass
    run.write_error(DataError("x"))
    run.unlock()
    run.claim(CONFIG)
    assert run.is_done("prepare")
    assert not run.is_done("train")
    assert not run.error.exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_that_is_no_run_is_left_as_it_is(run, overwrite):
    run.path.mkdir(parents=True)
    (run.path / "thesis.tex").write_text("precious", "utf-8")
    with pytest.raises(StorageError, match="no run folder; it is left as it is"):
        run.claim(CONFIG, overwrite=overwrite)
    assert [entry.name for entry in run.path.iterdir()] == ["thesis.tex"]


def test_a_file_in_the_place_of_the_folder_is_told(run):
    run.path.parent.mkdir(parents=True)
    run.path.touch()
    with pytest.raises(StorageError, match="is a file, not a run folder"):
        run.claim(CONFIG)
    below = RunFolder(run.path / "y")
    with pytest.raises(StorageError, match="a file stands where a folder belongs"):
        below.claim(CONFIG)


def test_what_a_kill_in_the_first_write_leaves_is_no_foreign_folder(run):
    run.path.mkdir(parents=True)
    for name in (".lock", "error.json", ".config.yaml.123.tmp"):
        (run.path / name).touch()
    run.claim(CONFIG)
    assert run.config.read_text("utf-8") == CONFIG


def test_overwrite_clears_all_but_what_links_point_to(run, tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "a").touch()
    run.claim(CONFIG)
    finish(run)
    run.unlock()
    (run.path / "merged").mkdir()
    (run.path / "merged" / "old").touch()
    (run.path / "link").symlink_to(tmp_path / "precious")
    run.claim(CONFIG, overwrite=True)
    left = {entry.name for entry in run.path.iterdir()}
    assert left == {".lock", "config.yaml", "manifest.json"}
    assert set(run.manifest()) == {"configuration"}
    assert (tmp_path / "precious" / "a").exists()
    assert not run.is_finished()


def test_killed_while_clearing_the_folder_is_still_known_as_ours(run, monkeypatch):
    run.claim(CONFIG)
    finish(run)
    run.unlock()
    (run.path / "a").touch()
    removed = []
    unlink = Path.unlink

    def record(path, missing_ok=False):
        removed.append(path.name)
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", record)
    run.clear()
    assert removed[-1] == "config.yaml"
    assert set(removed) == {"a", "manifest.json", "config.yaml"}


def test_a_place_that_cannot_be_written_is_told(run, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(StorageError, match="permission is denied") as caught:
        run.claim(CONFIG)
    assert "run.dir=FOLDER" in caught.value.fix


def test_a_lock_that_is_a_link_is_not_followed(run, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious", "utf-8")
    run.path.mkdir(parents=True)
    (run.path / ".lock").symlink_to(victim)
    with pytest.raises(StorageError, match="symbolic link"):
        run.claim(CONFIG)
    assert victim.read_text("utf-8") == "precious"


def test_a_stage_that_fails_is_not_done_and_a_whole_one_is_timed(run):
    run.claim(CONFIG)
    with pytest.raises(DataError), run.stage("prepare"):
        raise DataError("x")
    assert not run.is_done("prepare")
    with run.stage("prepare") as facts:
        facts["rows"] = 3
    recorded = run.manifest()["stages"]["prepare"]
    assert recorded["rows"] == 3
    assert recorded["seconds"] >= 0
    assert recorded["peak_memory_bytes"] > 1_000_000
    assert re.fullmatch(r"20\d\d-.*\+00:00", recorded["finished_at"])
    run.forget_stages(["prepare"])
    assert not run.is_done("prepare")


def test_what_the_folder_records_of_itself_names_no_absolute_path(run):
    run.claim(CONFIG)
    finish(run)
    assert str(run.path.parent) not in run.manifest_file.read_text("utf-8")
    assert str(run.path.parent) not in run.config.read_text("utf-8")


def test_a_cut_manifest_is_told(run):
    run.claim(CONFIG)
    run.unlock()
    run.manifest_file.write_text('{"stages": {', "utf-8")
    with pytest.raises(ArtefactError, match="not valid JSON"):
        run.claim(CONFIG)
    run.claim(CONFIG, overwrite=True)


def test_error_json_has_code_what_where_and_fix(run):
    run.claim(CONFIG)
    run.write_error(DataError(["a", "b"], fix="do c", where="train.csv:17"))
    assert json.loads(run.error.read_text("utf-8")) == {
        "code": 3,
        "what": ["a", "b"],
        "where": "train.csv:17",
        "fix": "do c",
    }


def test_an_error_that_cannot_be_written_does_not_hide_the_first(run, monkeypatch):
    def refuse(*args):
        raise OSError(errno.ENOSPC, "full")

    run.claim(CONFIG)
    monkeypatch.setattr(os, "fsync", refuse)
    run.write_error(DataError("x"))
    assert not run.error.exists()
