"""Several processes: who waits for whom. Whole jobs: tests/recipes/test_two_processes.py."""

from __future__ import annotations

import os
import time

import pytest

from finetune.errors import DistributedError
from finetune.runs.folder import RunFolder
from finetune.stages import processes


def test_a_marker_is_of_one_launch(tmp_path, monkeypatch):
    run = RunFolder(tmp_path)
    monkeypatch.setenv("MASTER_PORT", "1")
    processes.write_marker(run)
    assert processes.marker(run).read_text() == processes.launch_id()
    monkeypatch.setenv("MASTER_PORT", "2")
    assert processes.marker(run).read_text() != processes.launch_id()
    processes.forget_marker(run)
    processes.forget_marker(run)
    assert not processes.marker(run).exists()


def test_followers_stop_when_the_launcher_is_gone(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "getppid", lambda: 1)
    monkeypatch.setattr(processes, "parent_start", lambda: 0.0)
    with pytest.raises(DistributedError) as caught:
        processes.follow(RunFolder(tmp_path), None)
    assert caught.value.exit_code == 9


def test_a_marker_older_than_the_launcher_is_not_believed(tmp_path, monkeypatch):
    run = RunFolder(tmp_path)
    processes.write_marker(run)
    os.utime(processes.marker(run), (1, 1))
    monkeypatch.setattr(os, "getppid", lambda: 1)
    monkeypatch.setattr(processes, "parent_start", lambda: 100.0)
    with pytest.raises(DistributedError):
        processes.follow(run, None)


def test_the_launchers_start_lies_in_the_past():
    assert 0 <= processes.parent_start() < time.time()


def test_without_a_group_there_is_nothing_to_leave():
    processes.end_group()
