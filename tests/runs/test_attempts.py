"""Attempts are listed, and other conditions than before are said in one line."""

from __future__ import annotations

import pytest

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
