"""Columns that repeat another one are named."""

import pyarrow as pa

from finetune.data.cells.encoded import encode
from finetune.data.cells.profile import profile
from finetune.data.cells.redundant import same


def repeated(**cells):
    return same([profile(encode(name, pa.array(values))) for name, values in cells.items()])


def test_a_column_that_repeats_an_earlier_one_names_it():
    assert repeated(a=["x", "y"], b=["x", "z"], c=["x", "y"], d=["x", "y"]) == {"c": "a", "d": "a"}


def test_one_cell_that_differs_is_enough_to_be_another_column():
    assert repeated(a=["x", "y", "x"], b=["x", "y", "y"]) == {}


def test_columns_with_nothing_to_compare_repeat_nothing():
    assert repeated(a=["x", "x"], b=["x", "x"]) == {}
