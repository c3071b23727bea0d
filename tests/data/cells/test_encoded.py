"""Columns become codes and distinct values, whatever they hold."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.data.cells.encoded import by_value, encode


@given(st.lists(st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"])))))
def test_codes_and_values_give_the_column_back(texts):
    column = encode("a", pa.chunked_array([pa.array(texts, pa.string())]))
    back = [None if code < 0 else column.texts[code] for code in column.codes]
    assert back == texts
    assert column.counts.sum() == sum(text is not None for text in texts)


def test_chunks_with_different_values_share_one_dictionary():
    column = encode("a", pa.chunked_array([["x", "y"], ["y", "z", None]]))
    assert column.texts == ["x", "y", "z"]
    assert column.codes.tolist() == [0, 1, 1, 2, -1]


@pytest.mark.parametrize(
    "array",
    [
        pa.array([1, 2, None]),
        pa.array([1.5]),
        pa.array([True]),
        pa.array(["a"], pa.large_string()),
        pa.array(["a", "b"]).dictionary_encode(),
        pa.array([0], pa.timestamp("s")),
        pa.array([], pa.string()),
    ],
)
def test_plain_types_are_read_as_their_spelling(array):
    assert encode("a", pa.chunked_array([array])) is not None


@pytest.mark.parametrize("array", [pa.array([[1]]), pa.array([b"a"]), pa.nulls(3)])
def test_lists_bytes_and_nothing_are_left_out(array):
    assert encode("a", pa.chunked_array([array])) is None


def test_a_finding_about_a_value_is_one_about_each_of_its_rows():
    column = encode("a", pa.array(["x", "y", None, "x"]))
    found = by_value(column, "typo", {0: "y"})
    assert found.rows.tolist() == [0, 3]
    assert found.proposals.to_pylist() == ["y", "y"]
