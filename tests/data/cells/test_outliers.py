"""Numbers far from all others are found; long tails, codes and second populations are not."""

import numpy as np
import pyarrow as pa
import pytest

from finetune.data.cells import numbers, outliers
from finetune.data.cells.encoded import encode


def rows(values, detector=outliers.outliers):
    column = encode("a", pa.array([str(value) for value in values], pa.string()))
    found = detector(column, numbers.read(column), np.ones(len(column.values), bool))
    if detector is outliers.stand_ins:
        return np.flatnonzero(column.of_rows(found)).tolist()
    return [] if found is None else found.rows.tolist()


@pytest.mark.parametrize("seed", range(5))
def test_a_planted_slip_of_the_decimal_point_is_found_and_nothing_else(seed):
    values = np.random.default_rng(seed).normal(170, 8, 500).round(1).tolist()
    values[17], values[90] = 1700.0, -999.5
    assert rows(values) == [17, 90]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shape", ["normal", "uniform", "exponential", "lognormal"])
def test_usual_distributions_raise_hardly_an_alarm(shape, seed):
    draw = np.random.default_rng(seed)
    assert len(rows((getattr(draw, shape)(size=2000) + 5).round(4))) <= 1


def test_postcodes_and_phone_numbers_have_no_size():
    assert rows([*range(35000, 35400), 99950]) == []


def test_a_second_population_is_no_slip():
    draw = np.random.default_rng(0)
    assert rows([*draw.normal(10, 1, 900).round(3), *draw.normal(500, 1, 100).round(3)]) == []


@pytest.mark.parametrize("values", [[], [1], [5] * 100, [0] * 99 + [1]])
def test_too_little_to_say_says_nothing(values):
    assert rows(values) == []


def test_a_number_that_stands_for_none_is_found_when_it_is_far_off():
    assert rows([*range(40), -999, -999, -999], outliers.stand_ins) == [40, 41, 42]
    assert rows([*range(40), 9999, 9999, 9999], outliers.stand_ins) == [40, 41, 42]
    assert rows([*range(-50, 40), -9, -9, -9], outliers.stand_ins) == []
    assert rows([*range(990, 1010), 999, 999, 999], outliers.stand_ins) == []
