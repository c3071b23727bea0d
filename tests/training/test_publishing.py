"""A checkpoint is published behind training's back, one at a time, and its errors are not lost."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from finetune.errors import StorageError
from finetune.runs import storage
from finetune.training import checkpoint
from finetune.training.publishing import Publisher
from tests.contracts.cases import RECIPES
from tests.training.drive import config_of, log_of, train

BERT, *_ = RECIPES
OPTIONS = ("train.max_steps=4", "train.eval_strategy=steps", "train.eval_steps=2")


class Gate:
    """Something to publish that waits until it may."""

    def __init__(self):
        self.may, self.began, self.done = threading.Event(), threading.Event(), 0

    def __call__(self):
        self.began.set()
        assert self.may.wait(60)
        self.done += 1


def test_training_goes_on_meanwhile_and_the_next_one_waits():
    publisher, first, second = Publisher(in_background=True), Gate(), Gate()
    publisher.begin(first)
    assert first.began.wait(60)
    assert first.done == 0  # begin has returned
    threading.Timer(0.2, first.may.set).start()
    publisher.begin(second)
    assert first.done == 1
    second.may.set()
    publisher.wait()
    assert second.done == 1
    publisher.wait()  # nothing to wait for


def test_in_the_foreground_it_is_done_at_once():
    gate = Gate()
    gate.may.set()
    Publisher().begin(gate)
    assert gate.done == 1


def fail():
    raise StorageError("The disk is full.")


def test_an_error_is_raised_once_where_it_is_waited_for():
    publisher = Publisher(in_background=True)
    publisher.begin(fail)
    with pytest.raises(StorageError, match="full"):
        publisher.wait()
    publisher.wait()


def test_an_error_of_training_goes_before_and_waits_for_the_checkpoint():
    publisher, gate = Publisher(in_background=True), Gate()
    threading.Timer(0.2, gate.may.set).start()

    def work(publish, denominator):
        with publisher.finishing():
            publisher.begin(publish)
            _ = 1 / denominator

    with pytest.raises(ZeroDivisionError):
        work(gate, 0)
    assert gate.done == 1
    with pytest.raises(ZeroDivisionError):
        work(fail, 0)
    with pytest.raises(StorageError):
        work(fail, 1)


def files_of(run):
    return {
        file.relative_to(run.checkpoints).as_posix(): storage.sha256(file)
        for file in sorted(run.checkpoints.rglob("*"))
        if file.is_file() and file.name != "manifest.json"
    }


def manifests_of(run):
    return [
        {**storage.read_json(entry / "manifest.json"), "configuration": None}
        for entry in checkpoint.all_in(run.checkpoints)
    ]


def test_the_files_are_those_that_are_saved_without_it(tmp_path):
    behind, _ = train(config_of(BERT, tmp_path / "behind", *OPTIONS))
    before, _ = train(config_of(BERT, tmp_path / "before", *OPTIONS, "train.async_save=false"))
    assert len(files_of(behind)) > 8
    assert files_of(behind) == files_of(before)
    assert manifests_of(behind) == manifests_of(before)
    assert log_of(behind) == log_of(before)


def test_training_steps_while_a_checkpoint_is_published(tmp_path, monkeypatch):
    seen, commit = [], checkpoint.commit

    def slow(staged, target, facts):
        time.sleep(0.5)
        seen.append((threading.current_thread().name, target.name))
        commit(staged, target, facts)

    monkeypatch.setattr(checkpoint, "commit", slow)
    options = ("train.save_strategy=steps", "train.save_steps=2", "train.eval_strategy=no")
    run, _ = train(config_of(BERT, tmp_path, *options, "train.max_steps=4"))
    assert seen == [("checkpoint", "step-2"), ("checkpoint", "step-4")]
    assert [entry.name for entry in checkpoint.all_in(run.checkpoints)] == ["step-2", "step-4"]


def test_a_disk_that_fails_behind_training_ends_the_run_as_ever(tmp_path, monkeypatch):
    def broken(folder):
        raise OSError(28, "No space left on device", str(folder))

    monkeypatch.setattr(storage, "sync_tree", broken)
    with pytest.raises(StorageError, match=r"step-2.*the disk is full \([\d,]+ bytes"):
        train(config_of(BERT, tmp_path, *OPTIONS))
    assert not list(Path(tmp_path).rglob(".saving"))


KILLED = """
import os, signal, sys, threading
from pathlib import Path
from finetune.runs import storage
from finetune.training import checkpoint
from tests.contracts.cases import RECIPES
from tests.training.drive import config_of, train
sync = storage.sync_tree
def deadly(folder):
    if threading.current_thread().name == "checkpoint" and PLACE == "sync" and SECOND():
        os.kill(os.getpid(), signal.SIGKILL)
    sync(folder)
    if threading.current_thread().name == "checkpoint" and PLACE == "rename" and SECOND():
        os.kill(os.getpid(), signal.SIGKILL)
PLACE = sys.argv[2]
SECOND = lambda: any(Path(sys.argv[1]).rglob("step-2"))
storage.sync_tree = deadly
BERT, *_ = RECIPES
train(config_of(BERT, Path(sys.argv[1]), *sys.argv[3:]))
"""


@pytest.mark.parametrize("place", ["sync", "rename"])
def test_kill_9_behind_training_leaves_the_checkpoint_before_and_the_same_bits(tmp_path, place):
    whole, _ = train(config_of(BERT, tmp_path / "whole", *OPTIONS))
    command = [sys.executable, "-c", KILLED, str(tmp_path / "cut"), place, *OPTIONS]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    [left] = (tmp_path / "cut").rglob("checkpoints")
    assert [entry.name for entry in checkpoint.all_in(left)] == ["step-2"]
    assert (left / ".saving").is_dir()
    run, _ = train(config_of(BERT, tmp_path / "cut", *OPTIONS))
    assert log_of(run) == log_of(whole)
    assert {k: v for k, v in files_of(run).items() if "step-4" in k and "json" not in k} == {
        k: v for k, v in files_of(whole).items() if "step-4" in k and "json" not in k
    }
    assert not (left / ".saving").exists()
