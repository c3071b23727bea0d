"""Steps: nothing that happened to a row is left out, and nothing is said that did not happen."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from finetune.reports.data import steps

from . import audits


def test_each_step_says_what_it_found_what_it_did_and_what_was_left():
    shown = {row["name"]: row for row in steps.flow(audits.full())["rows"]}
    assert shown["Wrong encodings"]["done"] == "31 rows changed"
    assert shown["Wrong encodings"]["found"] == [("garbled characters", "31")]
    assert shown["Blanks"]["done"] == "left as found"
    assert [name for name, _ in shown["Blanks"]["found"]] == ["run of blanks", "blank at an end"]
    assert shown["Exact duplicates"]["done"] == "188 rows removed"
    assert shown["Exact duplicates"]["rows"] == "1,112"


def test_a_step_without_effect_is_named_as_quiet():
    assert steps.flow(audits.full())["quiet"] == ["Unicode forms"]


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)), min_size=1, max_size=9))
def test_bars_stay_within_their_box(sizes):
    given_steps = [
        {"name": f"s{n}", "rows_in": max(a, b), "rows_out": min(a, b)}
        for n, (a, b) in enumerate(sizes)
    ]
    for row in steps.flow({"steps": given_steps})["rows"]:
        assert 0 <= row["width"] + row["gone"] <= 100.2


def test_a_step_that_adds_rows_says_so():
    (row,) = steps.flow({"steps": [{"name": "x", "rows_in": 3, "rows_out": 5}]})["rows"]
    assert row["done"] == "2 rows added"


def test_shares_of_splits_are_those_of_their_sum():
    assert [each["share"] for each in steps.splits({"splits": {"train": 3, "test": 1}})] == [
        "75.0\N{NO-BREAK SPACE}%",
        "25.0\N{NO-BREAK SPACE}%",
    ]


def test_rows_that_a_model_wrote_are_counted_with_those_left_out():
    assert dict(steps.synthetic(audits.full())) == {
        "Rows asked for": "50",
        "Rows that the model proposed": "80",
        "Added to the training rows, marked": "41",
        "Left out: unusable": "20",
        "Left out: exact repetition": "9",
        "Left out: near repetition": "10",
        "Added with the label “refund”": "20",
        "Added with the label “invoice”": "21",
    }


def test_acted_means_changed_or_removed_not_found():
    assert steps.acted(audits.full(), "encoding")
    assert steps.acted(audits.full(), "exact_duplicates")
    assert not steps.acted(audits.full(), "whitespace")
    assert not steps.acted(audits.full(), "html")


def test_rows_that_were_removed_have_a_reason_beside_them():
    known = [{"name": "values", "rows_in": 9, "rows_out": 4}, {"name": "x", "rows_in": 4,
             "rows_out": 3}]  # fmt: skip
    reasons = [row["why"] for row in steps.flow({"steps": known})["rows"]]
    assert reasons == ["a needed value missing or unusable", "see data/quarantine.jsonl"]
