"""Values that cannot be used are found, and told apart from those that only look odd."""

import pyarrow as pa
import pytest

from finetune.data.columns import column_of
from finetune.data.tables import table_of_rows
from finetune.data.values import filled, label_values, text_values
from finetune.errors import DataError


def column(*values):
    return column_of(table_of_rows([{"c": value} for value in values], "rows"), "c")


def ids(count):
    return [f"x.csv:{number}" for number in range(1, count + 1)]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "is missing"),
        ("", "is empty"),
        (" \t\n\u3000", "is empty"),
        (3, "is a number instead of text"),
        (float("nan"), "is missing"),
        (True, "is a boolean instead of text"),
        (["a"], "is a list instead of text"),
        ({"a": 1}, "is an object instead of text"),
        ("a\ud800", "has characters that are not valid Unicode (lone surrogates)"),
    ],
)
def test_a_value_that_is_no_text_is_found_among_texts(value, reason):
    array, wrong, _ = text_values(column("fine", value, "also fine"), "text")
    assert wrong == {1: reason}
    assert array.to_pylist()[::2] == ["fine", "also fine"]


@pytest.mark.parametrize(
    "text", ["a\x00b", "\u200f\u0627", "👩\u200d👩", "e\u0301", "a\u2028b", "\ufffe", "</s>"]
)
def test_odd_but_valid_text_passes_unchanged(text):
    array, wrong, _ = text_values(column(text), "text")
    assert array.to_pylist() == [text]
    assert wrong == {}


def test_a_column_of_numbers_is_spelt_out_and_said():
    array, wrong, said = text_values(column(1, 2.5, None, 3.0), "text")
    assert array.to_pylist() == ["1", "2.5", None, "3"]
    assert wrong == {2: "is missing"}
    assert "holds numbers" in said[0]


def test_an_optional_text_may_be_missing_but_not_wrong():
    _, wrong, _ = text_values(column("a", None, ""), "text", required=False)
    assert wrong == {}
    _, wrong, _ = text_values(column("a", None, 3), "text", required=False)
    assert wrong == {2: "is a number instead of text"}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["ham", "spam"], ["ham", "spam"]),
        ([0, 1], ["0", "1"]),
        ([0.0, 1.0], ["0", "1"]),
        ([True, False], ["True", "False"]),
        (["007", "7"], ["007", "7"]),
    ],
)
def test_labels_of_one_type_become_their_spelling(values, expected):
    array, wrong, _ = label_values(column(*values), "label", ids(2))
    assert array.to_pylist() == expected
    assert wrong == {}


@pytest.mark.parametrize("values", [[0, "0"], [0, "one"], [1, True], ["a", 1.0], ["a", ["b"]]])
def test_labels_of_several_types_are_refused_with_the_place(values):
    with pytest.raises(DataError, match="of several types") as raised:
        label_values(
            column("x", *values) if isinstance(values[0], str) else column(values[0], *values),
            "label",
            ids(3),
        )
    assert "x.csv:3" in str(raised.value)


@pytest.mark.parametrize("values", [[0.5, 1.5], [["a"], ["b"]]])
def test_labels_that_name_no_class_are_refused(values):
    with pytest.raises(DataError, match="labels in `label` are"):
        label_values(column(*values), "label", ids(2))


def test_a_missing_or_blank_label_is_found():
    _, wrong, _ = label_values(column("a", None, " ", "a"), "label", ids(4))
    assert wrong == {1: "is missing", 2: "is empty"}


def test_missing_and_blank_values_are_filled_and_counted():
    column, count = filled(pa.chunked_array([["a", None, " ", "b"]]), "unknown")
    assert column.to_pylist() == ["a", "unknown", "unknown", "b"]
    assert count == 2
    assert filled([1.5, float("nan")], "x") == ([1.5, "x"], 1)
    whole = pa.chunked_array([["a"]])
    assert filled(whole, "x") == (whole, 0)
