"""Rounding never hides a difference."""

from __future__ import annotations

import pytest

from finetune.reports.numbers import (
    Estimate,
    counted,
    decimals,
    duration,
    interval,
    memory,
    number,
    plain,
    share,
    shared_decimals,
)


def test_the_usual_interval_has_three_decimals():
    assert interval(Estimate(0.9167, 0.8991, 0.9342)) == "0.917 [0.899, 0.934]"


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.91701, 0.91702], 5), ([0.5, 0.6], 3), ([0.99996], 5), ([91.2, 91.3], 2), ([], 3)],
)
def test_different_values_look_different(values, expected):
    assert decimals(values) == expected


def test_an_almost_perfect_score_is_not_shown_as_perfect():
    assert plain(0.99996) == "0.99996"
    assert plain(1.0) == "1.000"
    assert plain(-0.00001) == "\N{MINUS SIGN}0.00001"


def test_noise_in_the_last_bit_is_no_difference():
    assert decimals([0.1 + 0.2, 0.3]) == 3


def test_a_narrow_interval_stays_open():
    assert interval(Estimate(0.90001, 0.90000, 0.90002)) == "0.90001 [0.90000, 0.90002]"


def test_a_column_shares_its_decimals():
    assert shared_decimals([Estimate(0.5, 0.4, 0.6), Estimate(0.50004, 0.4, 0.6)]) == 5


def test_a_percentage_scale_keeps_two_decimals_beside_a_small_value():
    assert shared_decimals([Estimate(91.23, 88.1, 94.3), Estimate(3.2, 2.2, 4.2)]) == 2


def test_a_gain_has_its_sign_and_zero_has_none():
    assert plain(0.02, signed=True) == "+0.020"
    assert plain(-0.02, signed=True) == "\N{MINUS SIGN}0.020"
    assert plain(0.0, signed=True) == "0.000"


@pytest.mark.parametrize("raw", [float("nan"), float("inf"), True, "0.5", None, [], 10**400])
def test_what_is_no_finite_number_is_unknown(raw):
    assert number(raw) is None


def test_a_share_is_never_rounded_to_nothing_or_all():
    assert share(1, 100_000).startswith("0.001")
    assert share(99_999, 100_000).startswith("99.999")
    assert share(0, 7).startswith("0\N{NO-BREAK SPACE}")
    assert share(7, 7).startswith("100\N{NO-BREAK SPACE}")


def test_time_and_memory_are_written_for_people():
    assert [duration(s) for s in (0.42, 5.04, 58.2, 247, 7500, None)] == [
        "0.42 s", "5.0 s", "58 s", "4 min 07 s", "2 h 05 min", "–",
    ]  # fmt: skip
    assert [memory(n) for n in (512, 3 * 2**20, 1.5 * 2**30)] == ["512 B", "3 MiB", "1.5 GiB"]


def test_a_noun_agrees_with_its_count():
    assert [counted(n, "row") for n in (0, 1, 2000, None)] == [
        "0 rows", "1 row", "2,000 rows", "– rows",
    ]  # fmt: skip


@pytest.mark.parametrize("high", [1 / 63, 0.015873015873015872])
def test_an_interval_of_no_width_is_not_shown_nor_one_of_rounding_noise(high):
    assert interval(Estimate(0.015873015873015844, 0.015873015873015844, high)) == "0.016"
    assert interval(Estimate(0.5, 0.5, 0.6)) == "0.500 [0.500, 0.600]"
