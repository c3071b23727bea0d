"""Lists, numbers and answers in the spellings that people use, and what is wrong with which row."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.data import structured


@pytest.mark.parametrize(
    ("cell", "names"),
    [
        (["a", "b"], ["a", "b"]), ([], []), ("a|b", ["a", "b"]), ("a | b |", ["a", "b"]),
        ('["a", "b"]', ["a", "b"]), ("['a', 'b']", ["a", "b"]), ([1, 2], ["1", "2"]), ("", []),
    ],
)  # fmt: skip
def test_lists_of_names_are_read_in_every_spelling(cell, names):
    column, wrong, _ = structured.names_values([cell], "labels", may_be_empty=True)
    assert wrong == {}
    assert column.to_pylist() == [names]


def test_the_separator_is_said():
    _, _, said = structured.names_values(["a; b", "c"], "labels", may_be_empty=True)
    assert said == ["`labels` is cut at ';' into a list."]


@pytest.mark.parametrize(
    ("cell", "reason"),
    [(None, "is missing"), (3, "is not a list"), ([{"a": 1}], "something else"),
     ("[oops", ""), (["\ud800"], "lone surrogates")],
)  # fmt: skip
def test_what_is_no_list_of_names_is_said(cell, reason):
    _, wrong, _ = structured.names_values([cell], "labels", may_be_empty=True)
    assert reason in wrong.get(0, "")


def test_words_may_not_be_missing():
    _, wrong, _ = structured.names_values([[], ["a"]], "tokens", may_be_empty=False)
    assert wrong == {0: "is empty"}


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False)))
@settings(max_examples=30, deadline=None)
def test_numbers_come_back_from_their_spelling(numbers):
    column, wrong, _ = structured.score_values([repr(number) for number in numbers])
    assert column.to_pylist() == numbers
    assert wrong == {}


@pytest.mark.parametrize(
    ("cell", "reason"),
    [("x", "is not a number"), (float("nan"), "is not finite"), (None, "is missing"),
     ("", "is missing"), (True, "is a boolean instead of a number")],
)  # fmt: skip
def test_what_is_no_number_is_said(cell, reason):
    assert structured.score_values([cell])[1] == {0: reason}


@pytest.mark.parametrize(
    "cell",
    [
        {"text": ["x"], "answer_start": [3]},
        {"text": "x", "answer_start": 3},
        [{"text": "x", "answer_start": 3}],
        '{"text": ["x"], "answer_start": [3]}',
    ],
)
def test_answers_are_read_in_every_shape(cell):
    column, wrong, _ = structured.answers_values([cell])
    assert wrong == {}
    assert column.to_pylist() == [{"text": ["x"], "answer_start": [3]}]


def test_words_without_as_many_tags_are_found():
    columns = {
        "tokens": pa.chunked_array([pa.array([["a", "b"], ["c"]])]),
        "tags": pa.chunked_array([pa.array([["O"], ["O"]])]),
    }
    found = structured.together(columns, "tokens", "tags")
    assert found == {0: "has 1 names for 2 of `tokens`"}
