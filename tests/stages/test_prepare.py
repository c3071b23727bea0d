"""Prepare: what the run folder holds afterwards."""

from __future__ import annotations

import collections

import pytest

from finetune.runs import storage
from finetune.stages import splits
from finetune.tasks.text_classification import TextClassification
from tests.contracts.cases import compose, prepared
from tests.stages.finished import BERT, finished


def test_tokens_of_the_audit_are_measured():
    tokens = storage.read_json(finished(BERT).data / "audit.json")["tokens"]
    assert 0 < tokens["p50"] <= tokens["p95"] <= tokens["max"]
    assert tokens["untrainable_rows"] == 0


@pytest.mark.parametrize(
    ("settings", "times"),
    [
        ((), {"train": 1, "validation": 1, "test": 1}),
        (
            ("task.max_length=24", "data.on_overlength=drop"),
            {"train": 2, "validation": 2, "test": 1},
        ),
    ],
)
def test_rows_are_encoded_once_unless_some_leave_and_are_then_those_that_stay(
    tmp_path, monkeypatch, settings, times
):
    counted = collections.Counter()
    encode = TextClassification.encode

    def counting(self, rows):
        counted.update(str(row["id"]) for row in rows)
        return encode(self, rows)

    config = compose(BERT, tmp_path, *settings)
    monkeypatch.setattr(TextClassification, "encode", counting)
    run, _ = prepared(config)
    run.unlock()
    task = config.task
    for split, most in times.items():
        raw = splits.read(run, split)
        assert {counted[str(name)] for name in raw["id"]} == {most}
        if split != "test":
            found = splits.fetcher(run, task, split, raw)(range(len(raw)))
            again = encode(task, splits.as_rows(raw[:]))
            assert [dict(row) for row in again] == found
