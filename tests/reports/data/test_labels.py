"""Labels: balance in figures, doubts in the order of the audit, and honest about what was done."""

from __future__ import annotations

import pytest

from finetune.reports.data.labels import balance, doubts

from . import audits


def test_the_balance_says_how_uneven_the_classes_are():
    found = balance(audits.full())
    assert found["said"] == (
        "3 classes, the largest first; the largest has 58.3 times the rows of the smallest."
    )
    assert [row["label"] for row in found["rows"]] == ["refund", "invoice", "Refund"]
    assert found["rows"][2]["splits"] == ["10", "1", "1"]
    assert "equally many" in balance({"classes": {"a": 2, "b": 2}})["said"]
    assert balance({}) is None


def test_suspects_keep_their_rank_and_the_rest_is_counted():
    found = doubts(audits.full())
    assert found["suspects"][0] == {
        "id": "a.csv:900", "given": "invoice", "suggested": "refund", "score": "0.999",
    }  # fmt: skip
    assert len(found["suspects"]) == 50
    assert found["more_suspects"] == 10


def test_labels_that_were_not_looked_at_are_not_called_right():
    assert doubts({"classes": {"a": 1}})["looked"] is False
    skipped = {"classes": {"a": 1}, "suspected_label_errors": []}
    assert doubts(skipped)["looked"] is False
    assert doubts(skipped | {"label_error_search": {"examined": 1}})["looked"] is True
    assert doubts({}) is None


def test_conflicts_are_said_in_a_sentence():
    assert doubts(audits.full())["conflicts"].startswith("6 rows have the same input")
    one = doubts({"label_conflicts": 1, "classes": {"a": 2}})["conflicts"]
    assert one.startswith("1 row has the same input")
    none = doubts({"label_conflicts": 0, "classes": {"a": 2}})["conflicts"]
    assert none.startswith("No two rows")


def test_spellings_that_differ_in_blanks_can_be_told_apart():
    proposed = [{"label": "a  b", "suggested": "a b", "rows": 1, "reason": "blanks"}]
    (row,) = doubts({"label_spellings": proposed})["spellings"]
    assert row["label"] != row["suggested"]


def test_it_is_said_when_not_every_label_could_be_judged():
    assert doubts(audits.full())["searched"] == (
        "1,000 of 1,112 labelled rows were judged; they are a sample."
    )
    few = {"label_error_search": {"rows": 9, "examined": 7, "sampled": False}, "classes": {"a": 9}}
    assert "too little to judge by" in doubts(few)["searched"]
    none = {"label_error_search": {"rows": 9, "examined": 0}, "suspected_label_errors": [],
            "classes": {"a": 9}}  # fmt: skip
    assert doubts(none)["looked"] is False


@pytest.mark.parametrize("listed", [0, 73])
def test_where_a_cheap_model_disagrees_too_often_none_is_listed(listed):
    search = {"rows": 170, "examined": 160, "undecided": 0 if listed else 73}
    suspects = [{"id": str(row), "given": "a", "suggested": "b"} for row in range(listed)]
    found = doubts({"label_error_search": search, "suspected_label_errors": suspects})
    assert "reads 73 of 160 labels otherwise" in found["undecided"]
    assert "too little data to tell" in found["undecided"]
    assert found["suspects"] == []
