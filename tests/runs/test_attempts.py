"""Attempts are listed, and other conditions than before are said in one line."""

from __future__ import annotations

import pytest

from finetune.errors import Interrupted, StorageError, TimeIsUp
from finetune.runs import attempts
from finetune.runs.folder import RunFolder

FACTS = {
    "command": ["finetune"], "world_size": 1, "device": "cpu", "precision": "fp32", "threads": 2,
    "versions": {"torch": "2.13.0", "peft": None},
}  # fmt: skip


@pytest.fixture
def run(tmp_path):
    run = RunFolder(tmp_path / "x")
    (run.checkpoints / "step-3").mkdir(parents=True)
    attempts.begin(run, FACTS)
    return run


def test_each_attempt_is_listed_and_the_same_conditions_are_not_mentioned(run):
    assert attempts.begin(run, FACTS) is None
    attempts.note(run, resumed_from="step-3")
    listed = run.manifest()["attempts"]
    assert [each.get("resumed_from") for each in listed] == [None, "step-3"]
    assert listed[0] == FACTS


def test_other_versions_threads_and_devices_are_said_in_one_line(run):
    changed = {**FACTS, "threads": 4, "versions": {"torch": "2.14.0", "peft": "1"}}
    assert attempts.begin(run, changed) == (
        "not bit-identical to the uninterrupted run: "
        "peft none → 1, torch 2.13.0 → 2.14.0, threads 2 → 4"
    )


def test_nothing_is_said_where_nothing_is_trained_on(run):
    changed = {**FACTS, "device": "cuda"}
    run.record(stages={"train": {"finished_at": "now"}})
    assert attempts.begin(run, changed) is None
    run.record(stages={})
    (run.checkpoints / "step-3").rmdir()
    assert attempts.begin(run, FACTS) is None


@pytest.mark.parametrize(
    ("error", "code", "why"),
    [
        (None, 0, "done"),
        (TimeIsUp("The time is up."), 0, "The time is up."),
        (Interrupted(15, "Stopped\n by SIGTERM."), 143, "Stopped by SIGTERM."),
        (KeyError("the text of a row"), 1, "An unexpected KeyError."),
    ],
)
def test_how_an_attempt_ended_is_written_down(run, error, code, why):
    attempts.end(run, 0, error)
    ended = run.manifest()["attempts"][0]["ended"]
    assert (ended["code"], ended["why"]) == (code, why)
    assert ended["at"].endswith("+00:00")


def test_an_end_names_no_place_of_this_machine_and_is_short(run):
    attempts.end(run, 0, StorageError(f"`{run.path}/logs` is full." + "x" * 1000))
    why = run.manifest()["attempts"][0]["ended"]["why"]
    assert why.startswith("`x/logs` is full.")
    assert len(why) == attempts.LONGEST


def test_the_end_of_an_attempt_that_never_began_is_not_that_of_the_one_before(run):
    attempts.end(run, attempts.count(run), StorageError("The disk is full."))
    assert "ended" not in run.manifest()["attempts"][0]


def test_an_end_that_cannot_be_written_hides_no_error(run, monkeypatch):
    def full(**_):
        raise StorageError("The disk is full.")

    monkeypatch.setattr(run, "record", full)
    attempts.end(run, 0, TimeIsUp("The time is up."))
    monkeypatch.undo()
    run.manifest_file.write_text("{cut")
    attempts.end(run, 0, None)
