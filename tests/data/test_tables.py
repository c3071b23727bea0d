"""Types are found over all rows, and values without a common type are kept as they are."""

import json
import math

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.data.tables import mixed, table_of_batches, table_of_rows
from finetune.errors import DataError


def in_batches(rows, size):
    return table_of_batches(lambda: (rows[i : i + size] for i in range(0, len(rows), size)))


@pytest.mark.parametrize("size", [1, 2, 100])
@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([None, None, "a"], pa.string()),
        ([1, None, 2.5], pa.float64()),
        ([1, 2, "a"], None),
        ([1, True, 2], None),
        (["a", None, {"b": 1}], None),
        ([[], ["a"], None], pa.list_(pa.string())),
        ([{"a": 1}, {"b": "x"}, {}], pa.struct([("a", pa.int64()), ("b", pa.string())])),
        ([{"a": 1}, {"a": "x"}], None),
        ([1, 2**70], None),
        ([2**60 + 1, 0.5], None),
        (["a", "\ud800"], None),
        ([1, 2, 3], pa.int64()),
    ],
)
def test_a_column_has_the_type_of_all_its_values_whatever_the_batches(values, kind, size):
    table = in_batches([{"x": value} for value in values], size)
    if kind is not None:
        assert table.schema.field("x").type == kind
        assert not mixed(table.schema.field("x"))
    else:
        assert mixed(table.schema.field("x"))
        spelt = table["x"].to_pylist()
        assert [text if text is None else json.loads(text) for text in spelt] == values


@pytest.mark.parametrize("values", [["a", b"b"], [True, 1], [1, "1"]])
def test_bytes_are_no_text_and_truth_is_no_number(values):
    assert mixed(in_batches([{"x": value} for value in values], 10).schema.field("x"))


def test_a_key_that_turns_up_late_is_missing_before():
    assert in_batches([{"a": 1}, {"a": 2, "b": "x"}], 1).to_pylist() == [
        {"a": 1, "b": None},
        {"a": 2, "b": "x"},
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.fixed_dictionaries({"x": JSON}), min_size=1, max_size=8), st.integers(1, 4))
def test_batches_change_nothing(rows, size):
    whole = table_of_rows(rows, "rows")
    cut = in_batches(rows, size)
    assert mixed(whole.schema.field("x")) == mixed(cut.schema.field("x"))
    if mixed(whole.schema.field("x")):
        assert whole["x"].to_pylist() == cut["x"].to_pylist()


def test_numbers_that_are_none_stay_numbers():
    (value,) = table_of_rows([{"x": math.nan}], "rows")["x"].to_pylist()
    assert math.isnan(value)


def test_what_is_no_dictionary_is_refused():
    with pytest.raises(DataError, match="must be dictionaries, got a str"):
        table_of_rows(["text"], "`rows`")
