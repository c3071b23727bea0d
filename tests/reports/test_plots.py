"""Geometry: everything drawn lies within its axis, and round numbers mark it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.reports import plots
from finetune.reports.numbers import Estimate

NUMBERS = st.floats(-1e9, 1e9, allow_nan=False).filter(lambda x: x == 0 or abs(x) > 1e-9)


@given(st.lists(NUMBERS, min_size=1, max_size=20))
def test_every_value_lies_on_the_axis_and_its_ticks_differ(values):
    axis = plots.axis(values)
    assert all(-0.01 <= axis.place(value) <= 100.01 for value in values)
    texts = [tick.text for tick in axis.ticks]
    assert len(set(texts)) == len(texts) >= 2
    assert axis.ticks[0].at == 0
    assert axis.ticks[-1].at == pytest.approx(100)


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([0.07, 0.93], ["0.00", "0.25", "0.50", "0.75", "1.00"]),
        ([0, 0.001], ["0", "2.5e−4", "5e−4", "7.5e−4", "1e−3"]),
        ([5, 200], ["0", "50", "100", "150", "200"]),
    ],
)
def test_ticks_are_round_and_written_alike(values, texts):
    assert [tick.text for tick in plots.axis(values).ticks] == texts


def test_an_interval_is_placed_round_its_dot():
    _, (bar, _) = plots.bars([Estimate(0.5, 0.4, 0.6), Estimate(0.0, 0.0, 1.0)])
    assert (bar.low, bar.value, bar.high) == (40, 50, 60)


def test_a_step_logged_twice_after_a_resume_counts_once():
    log = [{"step": 2, "loss": 3.0}, {"step": 1, "loss": 4.0}, {"step": 2, "loss": 2.0}]
    assert plots.points(log, "loss") == [(1.0, 4.0), (2.0, 2.0)]


def test_a_long_log_is_averaged_and_says_so():
    curve = plots.curve("Loss", {"training": [(float(n), 1.0) for n in range(10_000)]})
    assert curve.averaged == 42
    assert len(curve.lines[0][2]) <= 240


def test_nothing_or_one_point_logged_is_no_curve():
    assert plots.curve("Accuracy", {"accuracy": [(29.0, 0.6)]}) is None
    assert plots.curve("Loss", {"training": []}) is None


def test_cells_hold_shares_of_their_row():
    (first, second) = plots.heatmap([[3, 1], [0, 0]])
    assert [cell.share for cell in first] == [0.75, 0.25]
    assert [cell.right for cell in first] == [True, False]
    assert [cell.share for cell in second] == [0.0, 0.0]


def test_the_commonest_mistakes_come_first_and_right_answers_never():
    pairs = plots.worst_pairs(["a", "b", "c"], [[9, 1, 0], [0, 5, 4], [0, 1, 1]])
    assert pairs == [("b", "c", 4, 9), ("c", "b", 1, 2), ("a", "b", 1, 10)]


def test_nothing_scored_is_an_axis_from_zero_to_one_not_below():
    axis, (bar,) = plots.bars([Estimate(0.0, 0.0, 0.0)])
    assert (axis.low, axis.high, bar.value) == (0, 1, 0)


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=9))
def test_an_axis_of_counts_has_whole_ticks(values):
    texts = [tick.text for tick in plots.axis(values, whole=True).ticks]
    assert len(set(texts)) == len(texts)
    assert not any("." in text and "M" not in text for text in texts)


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=5))
def test_a_logarithmic_axis_has_room_for_every_value_and_each_tick_is_ten_times_the_last(values):
    found = plots.log_axis(values)
    assert all(0 <= found.place(value) <= 100 for value in values)
    numbers = [int(tick.text.replace(",", "")) for tick in found.ticks]
    assert all(b == 10 * a for a, b in pairwise(numbers))
    assert (found.ticks[0].at, found.ticks[-1].at) == (0, 100)
