"""The kind of a column is inferred from its values."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.data.cells.encoded import encode
from finetune.data.cells.profile import profile


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["1", "2.5", "N/A", "12 oz", "7"], "number"),
        (["2024-01-31", "2024-02-01", ""], "date"),
        (["red", "blue", "red", "none"], "category"),
        ([f"user-{n:03d}" for n in range(50)], "key"),
        ([f"this is the text of row {n}, long enough to be one" for n in range(50)], "text"),
        (["", "N/A", " "], "empty"),
        ([], "empty"),
        ([None, None], "empty"),
    ],
)
def test_a_column_is_what_most_of_its_values_are(texts, kind):
    assert profile(encode("a", pa.array(texts, pa.string()))).kind == kind


def test_missing_rows_are_counted_however_they_are_written():
    one = profile(encode("a", pa.array(["1", "2", "", "N/A", None, "none", "3"])))
    assert (one.missing_rows, one.present_rows, one.distinct) == (4, 3, 3)


@given(st.lists(st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"])))))
def test_any_column_has_a_profile(texts):
    one = profile(encode("a", pa.array(texts, pa.string())))
    assert one.missing_rows + one.present_rows == len(texts)
