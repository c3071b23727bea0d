"""Prepare: lengths, what is cut, and what carries loss."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from datasets import Dataset

from finetune.errors import DataError
from finetune.runs import storage
from finetune.stages import prepare
from tests.stages.finished import BERT, finished

TASK = SimpleNamespace(limit=lambda: 4, processor=None)


class Lengths:
    """A task whose row n has n tokens, cut at 4, and whose labels are as given."""

    def measure(self, rows):
        return [
            {"length": min(row["n"], 4), "n_tokens": row["n"], "labels": row["labels"]}
            for row in rows
        ]


def made(*rows):
    """Return a split of (tokens, labels) rows and its measures."""
    split = Dataset.from_list(
        [{"id": f"a:{i}", "n": n, "labels": labels} for i, (n, labels) in enumerate(rows)]
    )
    return split, prepare.measure(Lengths(), split)


def apply(policy, **splits):
    datasets = {name: split for name, (split, _) in splits.items()}
    measured = {name: items for name, (_, items) in splits.items()}
    return prepare.apply_lengths(TASK, datasets, measured, policy)


FINE = (3, [1])


def test_truncating_counts_rows_and_tokens():
    kept, tokens, dropped = apply("truncate", train=made(FINE, (9, [1])), test=made((5, [1])))
    assert dropped == []
    assert [len(split) for split in kept.values()] == [2, 1]
    assert (tokens["truncated_rows"], tokens["tokens_lost"], tokens["max"]) == (2, 6, 9)


def test_dropping_drops_from_every_split():
    kept, tokens, dropped = apply("drop", train=made(FINE, (9, [1])), test=made((5, [1]), FINE))
    assert {entry["reason"] for entry in dropped} == {"is longer than the model takes"}
    assert len(dropped) == 2
    assert [len(split) for split in kept.values()] == [1, 1]
    assert tokens["truncated_rows"] == 0


def test_refusing_names_the_rows():
    with pytest.raises(DataError, match="a:1") as caught:
        apply("error", train=made(FINE, (9, [1])))
    assert "task.max_length" in caught.value.fix


def test_a_training_row_without_a_labelled_token_is_dropped_and_counted():
    masked = (3, [-100, -100])
    kept, tokens, dropped = apply("truncate", train=made(FINE, masked), test=made(masked))
    assert (len(dropped), tokens["untrainable_rows"]) == (1, 1)
    assert "no answer left" in dropped[0]["reason"]
    assert [len(split) for split in kept.values()] == [1, 1]


def test_training_rows_that_are_all_masked_are_refused():
    with pytest.raises(DataError, match="carries loss") as caught:
        apply("truncate", train=made((3, [-100])))
    assert caught.value.exit_code == 3


def test_tokens_of_the_audit_are_measured():
    tokens = storage.read_json(finished(BERT).data / "audit.json")["tokens"]
    assert 0 < tokens["p50"] <= tokens["p95"] <= tokens["max"]
    assert tokens["untrainable_rows"] == 0
