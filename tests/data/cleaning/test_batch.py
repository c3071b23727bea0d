from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from finetune.data.cleaning.base import Finding, Step, build
from finetune.data.cleaning.batch import clean_batch


@dataclass(frozen=True)
class Shout(Step):
    """Finds capitals, and makes them small."""

    trouble: ClassVar[str] = "shouts"

    @property
    def name(self):
        return "shout"

    def candidates(self, texts):
        assert texts.null_count == 0
        return np.array([text != text.lower() for text in texts.to_pylist()])

    def check(self, text):
        found = sum(map(str.isupper, text))
        return Finding({"capital": found}, text.lower()) if found else None


@dataclass(frozen=True)
class Whole(Shout):
    """Judges all that a cell says."""

    whole: ClassVar[bool] = True


def batch(**columns):
    return pa.RecordBatch.from_pydict(columns)


def test_a_finding_in_any_column_drops_the_row_once():
    rows = batch(text=["A", "b", None, "C"], other=["X", "y", "Z", None])
    outcome = clean_batch(rows, ["text", "other"], [Shout("drop")])
    assert outcome.stays.tolist() == [False, True, False, False]
    assert [(event.row, event.column) for event in outcome.events] == [
        (0, "text"),
        (2, "other"),
        (3, "text"),
    ]
    assert outcome.tallies[0].found == {"capital": 4}
    assert (outcome.tallies[0].rows_in, outcome.tallies[0].rows_out) == (4, 1)
    assert outcome.columns == {}


def test_a_row_with_two_changes_counts_as_one_changed_row():
    rows = batch(text=[["A", "b", "C"], None], other=["X", "y"])
    outcome = clean_batch(rows, ["text", "other"], [Shout("repair"), Shout("drop")])
    assert [tally.changed for tally in outcome.tallies] == [1, 0]
    assert {name: column.to_pylist() for name, column in outcome.columns.items()} == {
        "text": [["a", "b", "c"], None],
        "other": ["x", "y"],
    }
    assert [event.column for event in outcome.events] == ["text[0]", "text[2]", "other"]
    assert outcome.stays is None


def test_a_report_changes_nothing():
    outcome = clean_batch(batch(text=["A"]), ["text"], [Shout("report")])
    assert (outcome.columns, outcome.stays, outcome.events) == ({}, None, [])
    assert outcome.tallies[0].found == {"capital": 1}


def test_a_step_for_whole_cells_judges_a_list_by_all_that_it_says():
    rows = batch(text=[["A", "B"], ["c"], [], None, [None, "D"]])
    outcome = clean_batch(rows, ["text"], [Whole("drop")])
    assert outcome.stays.tolist() == [False, True, True, True, False]
    assert {event.column for event in outcome.events} == {"text"}
    assert outcome.tallies[0].found == {"capital": 3}


def test_a_conversation_is_as_long_as_all_that_it_says():
    rows = batch(text=[["ab", "cd"], ["ab"]])
    steps = build({"length": {"action": "drop", "min_chars": 4}})
    assert clean_batch(rows, ["text"], steps).stays.tolist() == [True, False]


def test_columns_without_a_text_are_no_trouble():
    for values in ([], [None, None]):
        rows = batch(
            text=pa.array(values, pa.string()), other=pa.array(values, pa.list_(pa.string()))
        )
        outcome = clean_batch(rows, ["text", "other"], [Shout("repair"), Whole("drop")])
        assert outcome.stays is None
        assert outcome.tallies[1].rows_out == len(values)
