"""What the test rows cannot show is said, and nothing is made of a handful of rows."""

from __future__ import annotations

import pytest

from finetune.metrics.intervals import FEWEST_ROWS
from finetune.reports.cautions import TOO_FEW_ROWS, cautions
from finetune.reports.verdict import warnings

from .test_verdict import result


def test_a_handful_of_rows_is_as_many_to_the_report_as_to_the_test():
    assert TOO_FEW_ROWS == FEWEST_ROWS


def test_one_row_is_not_called_rows():
    assert "There is only 1 test row;" in cautions({"rows": {"test": 1}})[0]
    assert "There are only 2 test rows;" in cautions({"rows": {"test": 2}})[0]


@pytest.mark.parametrize(("greater", "value", "weak"), [
    (True, 0.7, True), (True, 0.89, False), (False, 0.7, False), (False, 0.99, True),
])  # fmt: skip
def test_a_slice_whose_interval_lies_on_the_bad_side_is_named(greater, value, weak):
    part = {"rows": 60, "m": {"value": value, "low": value - 0.03, "high": value + 0.03}}
    found = warnings(result(greater=greater, slices={"channel": {"phone": part}}), {}, {})
    assert bool(found) is weak


@pytest.mark.parametrize(("rows", "weak"), [(1, False), (9, False), (10, False), (60, True)])
def test_a_slice_of_rows_that_are_all_wrong_is_named_where_they_are_enough(rows, weak):
    part = {"rows": rows, "m": {"value": 0.0, "low": 0.0, "high": 0.0}}
    found = cautions(result(value=0.2, slices={"channel": {"phone": part}}))
    assert bool(found) is weak
