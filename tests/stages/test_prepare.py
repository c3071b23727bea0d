"""Prepare: what the run folder holds afterwards."""

from __future__ import annotations

from finetune.runs import storage
from tests.stages.finished import BERT, finished


def test_tokens_of_the_audit_are_measured():
    tokens = storage.read_json(finished(BERT).data / "audit.json")["tokens"]
    assert 0 < tokens["p50"] <= tokens["p95"] <= tokens["max"]
    assert tokens["untrainable_rows"] == 0
