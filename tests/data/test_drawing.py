"""Drawing: the same rows for the same content and seed, and no label that train does not have."""

import pytest

from finetune.data.kinds import Label, Text
from finetune.data.prepare import SplitOptions, prepare

KINDS = {"text": Text(), "label": Label()}


def rows(count, labels=4, start=0):
    return [{"text": f"t{n}", "label": f"l{n % labels}"} for n in range(start, start + count)]


def drawn(given, seed=0, most=40):
    prepared = prepare(kinds=KINDS, rows=given, max_rows=most, split=SplitOptions(seed=seed))
    return {text for part in prepared.splits.values() for text in part["text"]}, prepared


def test_the_order_of_rows_does_not_matter_and_the_seed_does():
    given = rows(300)
    assert drawn(given)[0] == drawn(given[::-1])[0]
    assert drawn(given)[0] != drawn(given, seed=1)[0]
    assert len(drawn(given)[0]) == 40


@pytest.mark.parametrize("seed", range(4))
def test_what_is_scored_has_no_label_that_was_not_drawn_for_train(seed):
    given = {"train": rows(200, labels=50), "test": rows(100, labels=50, start=500)}
    _, prepared = drawn(given, seed, most=30)
    assert set(prepared.splits["test"]["label"]) <= set(prepared.splits["train"]["label"])


def test_rows_that_were_not_drawn_are_not_called_dropped():
    _, prepared = drawn(rows(300))
    assert prepared.audit["rows"] == {"read": 300, "kept": 40, "dropped": 0}
