"""Several processes: who waits for whom. Whole jobs: tests/recipes/test_two_processes.py."""

from __future__ import annotations

import os
import time

import pytest

from finetune.errors import DataError, DistributedError
from finetune.runs import roll as rolls
from finetune.runs.folder import RunFolder
from finetune.runs.roll import EchoError, Roll
from finetune.stages import processes


@pytest.fixture
def led(tmp_path, monkeypatch):
    """Return the folder of a launch of two ranks that this process leads."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setattr(processes, "parent_start", lambda: 0.0)
    run = RunFolder(tmp_path)
    processes.forget_marker(run)
    yield run
    processes.stop_leading()


def wait_as_follower(run, monkeypatch, timeout=60.0):
    monkeypatch.setenv("RANK", "1")
    processes.wait_for_data(run, timeout)


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
    parents = iter([77, 77, 1])
    monkeypatch.setattr(os, "getppid", lambda: next(parents))
    monkeypatch.setattr(processes, "parent_start", lambda: 0.0)
    with pytest.raises(DistributedError, match="gone away") as caught:
        processes.follow(RunFolder(tmp_path), None)
    assert caught.value.exit_code == 9


def test_a_marker_older_than_the_launcher_is_not_believed(tmp_path, monkeypatch):
    run = RunFolder(tmp_path)
    processes.write_marker(run)
    os.utime(processes.marker(run), (1, 1))
    assert processes.is_of_this_launch(processes.marker(run), 0.0)
    assert not processes.is_of_this_launch(processes.marker(run), 100.0)


def test_clocks_of_two_nodes_need_not_agree_where_the_launch_has_a_name_of_its_own(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "5f1c")
    run = RunFolder(tmp_path)
    processes.write_marker(run)
    os.utime(processes.marker(run), (1, 1))
    assert processes.is_of_this_launch(processes.marker(run), 100.0)


def test_a_launcher_that_is_process_1_of_a_container_is_not_taken_for_gone(tmp_path, monkeypatch):
    run = RunFolder(tmp_path)
    monkeypatch.setattr(os, "getppid", lambda: 1)
    monkeypatch.setattr(processes, "parent_start", lambda: 0.0)
    processes.write_marker(run)
    processes.wait_for_data(run, 5.0)


def test_a_job_that_slurm_queued_again_is_another_launch(monkeypatch):
    first = processes.launch_id()
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert processes.launch_id() != first


def test_the_launchers_start_lies_in_the_past():
    assert 0 <= processes.parent_start() < time.time()


def test_without_a_group_there_is_nothing_to_leave():
    processes.end_group()


def test_a_launch_begins_without_what_an_earlier_one_left(tmp_path, monkeypatch):
    Roll(tmp_path, 1, 2).tell(DataError("Long ago."))
    monkeypatch.setenv("WORLD_SIZE", "2")
    processes.forget_marker(RunFolder(tmp_path))
    assert not Roll(tmp_path, 0, 2).told()
    processes.stop_leading()
    assert not (tmp_path / rolls.FOLDER).exists()


def test_a_process_alone_keeps_no_roll(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "1")
    processes.forget_marker(RunFolder(tmp_path))
    assert not (tmp_path / rolls.FOLDER).exists()


def test_followers_go_on_when_the_data_is_ready(led, monkeypatch):
    processes.write_marker(led)
    wait_as_follower(led, monkeypatch)


def test_followers_end_with_the_main_processs_error_and_say_nothing(led, monkeypatch):
    led.write_error(DataError("Row 7 has no text."))
    with pytest.raises(EchoError) as caught:
        wait_as_follower(led, monkeypatch)
    assert caught.value.exit_code == 3


def test_followers_say_when_the_main_process_died(led, monkeypatch):
    entry = {"pid": os.getpid(), "host": rolls.host(), "start": 1}
    Roll(led.path, 0, 2)._write("", **entry)
    with pytest.raises(DistributedError, match="Rank 0 died before the data was ready"):
        wait_as_follower(led, monkeypatch)


def test_an_error_of_an_earlier_launch_is_not_believed(tmp_path, monkeypatch):
    run = RunFolder(tmp_path)
    run.write_error(DataError("Long ago."))
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(processes, "parent_start", lambda: 0.0)
    monkeypatch.setattr(processes, "BEAT_SECONDS", 0.2)
    with pytest.raises(DistributedError, match="no sign of life"):
        wait_as_follower(run, monkeypatch, 0.1)


def test_signs_of_life_keep_followers_waiting(led, monkeypatch):
    monkeypatch.setattr(processes, "BEAT_SECONDS", 0.3)
    monkeypatch.setattr(rolls, "is_gone", lambda _: False)
    beats = iter(range(1, 6))

    def beat_on(seconds):
        number = next(beats, None)
        if number is None:
            processes.write_marker(led)
        else:
            processes.beat(led, number)

    monkeypatch.setattr(processes.time, "sleep", beat_on)
    clock = iter(range(100))
    monkeypatch.setattr(processes.time, "monotonic", lambda: next(clock))
    wait_as_follower(led, monkeypatch, 5)


def test_the_main_process_gives_signs_of_life(led, monkeypatch):
    monkeypatch.setattr(processes, "BEAT_SECONDS", 0.01)
    processes.forget_marker(led)
    first = processes.read(processes.heartbeat(led))
    deadline = time.monotonic() + 10
    while processes.read(processes.heartbeat(led)) == first and time.monotonic() < deadline:
        time.sleep(0.01)
    assert processes.read(processes.heartbeat(led)) != first
