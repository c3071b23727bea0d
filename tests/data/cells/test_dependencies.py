"""Cells that contradict what the other columns say are found, and no others."""

import numpy as np
import pyarrow as pa
import pytest

from finetune.data.cells.dependencies import judge
from finetune.data.cells.encoded import encode

TOWNS = {f"{n:05d}": (f"Town {chr(65 + n)}", f"S{n % 4}") for n in range(12)}


def table(size=240):
    codes = [list(TOWNS)[row % len(TOWNS)] for row in range(size)]
    return {
        "zip": codes,
        "city": [TOWNS[code][0] for code in codes],
        "state": [TOWNS[code][1] for code in codes],
        "noise": [str(n) for n in np.random.default_rng(1).integers(0, 7, size)],
    }


def verdicts(cells, broken=None):
    columns = [encode(name, pa.array(values, pa.string())) for name, values in cells.items()]
    present = {column.name: np.ones(len(column.values), bool) for column in columns}
    return judge(columns, present=present, broken=broken or {}, targets=set(cells))


def wrong(cells, broken=None):
    return {
        (int(row), name): proposal
        for name, verdict in verdicts(cells, broken).items()
        if verdict.found is not None
        for row, proposal in zip(
            verdict.found.rows, verdict.found.proposals.to_pylist(), strict=True
        )
    }


def test_a_table_in_order_has_nothing_wrong():
    assert wrong(table()) == {}
    assert set(verdicts(table())) == {"zip", "city", "state"}


def test_a_swapped_and_a_mistyped_value_are_found_with_what_they_should_be():
    cells = table()
    cells["city"][5], cells["state"][100] = "Town C", "Sx"
    assert wrong(cells) == {(5, "city"): "Town F", (100, "state"): "S0"}


def test_the_cell_in_more_contradictions_is_blamed_alone():
    cells = table()
    cells["city"][5], cells["zip"][8] = "Town C", "00003"
    assert wrong(cells) == {(5, "city"): "Town F", (8, "zip"): "00008"}


def test_where_two_columns_accuse_each_other_both_are_found():
    cells = table()
    cells["zip"][7] = "00003"  # in the same state, which can't tell either
    assert wrong(cells) == {(7, "zip"): "00007", (7, "city"): "Town D"}


def test_an_alternative_that_recurs_is_not_called_wrong():
    cells = table()
    del cells["zip"]
    for row in range(24, 60, 12):  # three more towns of the same name, in a state that exists
        cells["state"][row] = "S3"
    assert wrong(cells) == {}


def test_rows_known_to_be_wrong_have_no_vote():
    cells = table(36)
    for row in (0, 12):
        cells["city"][row] = "Town A S0"
    assert wrong(cells, {"city": np.array([0, 12])}) == {}


def test_columns_that_have_nothing_to_do_with_each_other_say_nothing():
    random = np.random.default_rng(0)
    cells = {name: [str(n) for n in random.integers(0, 9, 500)] for name in "abc"}
    assert verdicts(cells) == {}


def test_one_usual_value_is_no_dependency():
    random = np.random.default_rng(0)
    usual = ["yes" if n else "no" for n in random.integers(0, 30, 600)]
    assert verdicts({"a": [str(n) for n in random.integers(0, 9, 600)], "b": usual}) == {}


def test_two_columns_together_can_be_the_key():
    grid = [(a, b) for a in "abcd" for b in "wxyz"] * 10
    cells = {
        "first": [a for a, _ in grid],
        "second": [b for _, b in grid],
        "sum": [f"n{(ord(a) * 7 + ord(b) * 3) % 11}" for a, b in grid],
    }
    cells["sum"][4] = "n99"
    assert (4, "sum") in wrong(cells)
    assert verdicts(cells)["sum"].keys == ["first + second"]


@pytest.mark.parametrize("size", [0, 1, 2])
def test_a_tiny_table_says_nothing(size):
    assert wrong({"a": ["x"] * size, "b": ["y"] * size}) == {}
