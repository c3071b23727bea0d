"""What a rank makes of another's end. Whole jobs: tests/faults/test_ranks.py."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from finetune.errors import DataError, DistributedError, FinetuneError, Interrupted
from finetune.runs import partners
from finetune.runs import roll as rolls
from finetune.runs.roll import EchoError, Roll

CLOSED = "[/gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:4711"
TIMED_OUT = "[/gloo/unbound_buffer.cc:78] Timed out waiting 8000ms for recv operation to complete"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(partners, "NOTICE_SECONDS", 0.3)
    monkeypatch.setattr(rolls, "_echoed", [])
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def other(tmp_path):
    """Return a process that is rank 1 on the roll, and its roll."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    roll = Roll(tmp_path, 1, 2)
    roll._write("", pid=process.pid, host=rolls.host(), start=rolls.started(process.pid))
    yield process, roll
    process.kill()
    process.wait()


def failing(folder, error, *, rank=0, world=2, step=4):
    with (
        pytest.raises((RuntimeError, FinetuneError, ValueError)) as caught,
        partners.explained(folder, rank, world, lambda: step, timeout=8),
    ):
        raise error
    return caught.value


def test_a_rank_alone_is_left_alone(tmp_path):
    error = RuntimeError(CLOSED)
    assert failing(tmp_path, error, world=1) is error
    assert not list(tmp_path.iterdir())


def test_a_rank_that_died_is_named_with_the_step(tmp_path, other):
    other[0].kill()
    other[0].wait()
    error = failing(tmp_path, RuntimeError(CLOSED))
    assert isinstance(error, DistributedError)
    assert error.problems == ["Rank 1 died after step 4."]
    assert (tmp_path / "error.json").is_file()


def test_a_rank_that_hangs_is_named_and_ended(tmp_path, other):
    error = failing(tmp_path, RuntimeError(TIMED_OUT))
    assert error.problems == [
        "Rank 1 has hung after step 4: it did not answer for 8 s; it was ended."
    ]
    assert other[0].wait(10) == -signal.SIGKILL


def test_a_rank_that_noticed_too_is_not_ended(tmp_path, other):
    other[1].notice()
    error = failing(tmp_path, RuntimeError(TIMED_OUT))
    assert error.problems == ["The ranks lost touch after step 4."]
    assert other[0].poll() is None


def test_a_rank_whose_connection_closed_is_not_ended(tmp_path, other):
    assert "no longer reached" in failing(tmp_path, RuntimeError(CLOSED)).problems[0]
    assert other[0].poll() is None


def test_what_another_rank_said_is_echoed_with_its_code(tmp_path, other):
    other[1].tell(DataError("Row 7 has no text."), 3)
    error = failing(tmp_path, RuntimeError(CLOSED))
    assert isinstance(error, EchoError)
    assert error.exit_code == 3
    assert "Row 7" in (tmp_path / "error.json").read_text()


def test_an_error_of_ones_own_names_rank_and_step_once(tmp_path):
    with partners.explained(tmp_path, 1, 2):
        error = failing(tmp_path, DataError("Row 7."), rank=1)
    assert error.problems == ["Row 7. [rank 1 after step 4]"]
    assert Roll(tmp_path, 0, 2).told()[1]["code"] == 3


def test_a_fault_of_the_program_is_told_to_the_others(tmp_path):
    error = failing(tmp_path, ValueError("odd"), rank=1)
    assert error.exit_code == 1
    assert Roll(tmp_path, 0, 2).told()[1]["what"] == error.problems


def test_being_stopped_is_no_failure(tmp_path):
    error = Interrupted(15, "Stopped.")
    assert failing(tmp_path, error) is error
    assert not (tmp_path / "error.json").exists()
    assert not (tmp_path / rolls.FOLDER).exists()


def test_memory_and_shapes_are_not_taken_for_a_lost_partner():
    assert partners.is_of_partners(RuntimeError(CLOSED))
    assert partners.is_of_partners(RuntimeError(TIMED_OUT))
    assert not partners.is_of_partners(RuntimeError("shape '[2, 3]' is invalid for input"))
    assert not partners.is_of_partners(RuntimeError("CUDA out of memory"))
    assert not partners.is_of_partners(ConnectionError("socket"))


def test_ranks_meet_or_say_who_is_missing(tmp_path, other, monkeypatch):
    monkeypatch.setattr(partners, "MEET_SECONDS", 0.3)
    with pytest.raises(DistributedError, match="Rank 1 did not begin"):
        partners.meet(tmp_path, 0, 2, timeout=0.1)
    other[1].arrive()
    partners.meet(tmp_path, 0, 2, timeout=0.1)
    partners.meet(tmp_path, 0, 1, timeout=0.1)


def test_who_waits_for_a_rank_that_dies_is_told_so(tmp_path, other):
    other[0].kill()
    other[0].wait()
    with pytest.raises(DistributedError, match="Rank 1 died"):
        partners.meet(tmp_path, 0, 2, timeout=60)


STUCK = """
import sys, time
from pathlib import Path
from finetune.runs import partners
partners.GRACE_SECONDS = 0.2
with partners.explained(Path(sys.argv[1]), 0, 2, 4):
    print("in", flush=True)
    time.sleep(60)
"""


def test_a_rank_that_is_stuck_elsewhere_ends_after_the_others(tmp_path, other):
    command = [sys.executable, "-c", STUCK, str(tmp_path)]
    stuck = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert stuck.stdout.readline() == "in\n"
        other[0].kill()
        other[0].wait()
        _, said = stuck.communicate(timeout=30)
    finally:
        stuck.kill()
    assert stuck.returncode == 9
    assert said.count("error: ") == 1
    assert "Rank 1 died after step 4." in said
