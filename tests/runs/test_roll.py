"""The roll: who is gone, who says what, and that nobody else's process is ever ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from finetune.errors import DataError, Interrupted
from finetune.runs import roll as rolls
from finetune.runs.roll import EchoError, Roll


@pytest.fixture
def other():
    """Return a process that waits."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.wait()


def entry_of(process):
    pid = process.pid
    return {"pid": pid, "host": rolls.host(), "start": rolls.started(pid)}


def test_a_process_is_gone_once_it_has_ended_even_before_anybody_took_note(other):
    entry = entry_of(other)
    assert not rolls.is_gone(entry)
    other.kill()
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie now
    assert rolls.is_gone(entry)


def test_a_number_that_another_process_has_now_is_gone(other):
    assert rolls.is_gone({**entry_of(other), "start": 1})


def test_of_another_machine_nothing_is_known(other):
    assert not rolls.is_gone({**entry_of(other), "host": "elsewhere", "start": 1})


def test_only_the_very_process_is_ended(other):
    entry = entry_of(other)
    assert not rolls.kill({**entry, "start": 1})
    assert not rolls.kill({**entry, "host": "elsewhere"})
    assert not rolls.kill({**entry, "start": None})
    assert other.poll() is None
    assert rolls.kill(entry)
    assert other.wait(10) == -signal.SIGKILL


def test_ranks_see_each_other_and_what_each_says(tmp_path):
    first, second = (Roll(tmp_path, rank, 2) for rank in (0, 1))
    assert not first.is_on()
    first.enter()
    second.enter()
    assert first.is_on()
    assert set(second.entries()) == {0}
    assert second.missing() == [0]
    first.arrive()
    assert second.missing() == []
    assert first.silent() == [1]
    second.notice()
    assert first.silent() == []
    second.tell(DataError("Row 7.", fix="Remove it."), 4)
    second.tell(DataError("Later."), 5)
    assert first.told()[1]["what"] == ["Row 7."]
    assert first.told()[1]["step"] == 4
    error = rolls.restored(first.told()[1], EchoError)
    assert (error.exit_code, error.fix) == (3, "Remove it.")


def test_the_gone_are_those_who_ended_without_a_word(tmp_path, other):
    first, second = (Roll(tmp_path, rank, 2) for rank in (0, 1))
    second._write("", **entry_of(other))
    assert first.gone() == []
    other.kill()
    other.wait()
    assert first.gone() == [1]
    second.notice()
    assert first.gone() == []


def test_the_last_to_leave_clears_the_folder(tmp_path):
    first, second = (Roll(tmp_path, rank, 2) for rank in (0, 1))
    first.enter()
    second.enter()
    second.arrive()
    second.leave()
    assert first.folder.is_dir()
    first.leave()
    assert not first.folder.exists()
    first.leave()


def test_the_first_word_to_the_launcher_counts(tmp_path, monkeypatch):
    assert not rolls.to_launcher(DataError("Nobody listens."))
    monkeypatch.setenv(rolls.LAUNCHER, str(tmp_path))
    monkeypatch.setenv("RANK", "1")
    assert rolls.to_launcher(DataError("Row 7."))
    assert rolls.to_launcher(Interrupted(15, "Stopped."))
    (file,) = tmp_path.glob("*.json")
    assert file.name == "1.json"
    assert "Row 7." in file.read_text()


def test_an_error_is_said_once_over_all_ranks(monkeypatch):
    monkeypatch.setattr(rolls, "_echoed", [])
    monkeypatch.setenv("RANK", "0")
    assert not rolls.is_said_elsewhere(DataError("Row 7."))
    assert rolls.is_said_elsewhere(EchoError("Row 7."))
    assert not rolls.is_said_elsewhere(Interrupted(15, "Stopped."))
    monkeypatch.setenv("RANK", "1")
    assert rolls.is_said_elsewhere(Interrupted(15, "Stopped."))


def test_launched_ranks_sign_in(tmp_path, monkeypatch):
    monkeypatch.setenv(rolls.LAUNCHER, str(tmp_path))
    rolls.sign_in()
    assert [file.name for file in tmp_path.iterdir()] == [f"{os.getpid()}.rank"]
