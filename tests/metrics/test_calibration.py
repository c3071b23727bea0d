"""Calibration of stated probabilities."""

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from finetune.metrics import find
from finetune.metrics.calibration import BINS


def test_calibration_error_is_the_weighted_gap_of_each_bin() -> None:
    generator = np.random.default_rng(0)
    confidence = generator.random(500)
    correct = (generator.random(500) < confidence**2).astype(int)
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    expected = sum(
        abs(confidence[bins == b].mean() - correct[bins == b].mean()) * (bins == b).mean()
        for b in range(BINS)
    )
    found = find("expected_calibration_error")(confidence, correct)
    assert found == pytest.approx(expected)
    assert found > 0.1


def test_a_model_that_is_right_as_often_as_it_says_is_calibrated() -> None:
    assert find("expected_calibration_error")([0.75] * 4, [1, 1, 1, 0]) == pytest.approx(0)
    assert find("expected_calibration_error")([1.0] * 4, [True, True, False, False]) == 0.5


def test_doubt_in_one_bin_does_not_make_up_for_boasting_in_another() -> None:
    assert find("expected_calibration_error")([0.9, 0.2], [0, 1]) == pytest.approx(0.85)


def test_the_brier_score_is_scikit_learns() -> None:
    confidence, correct = [0.1, 0.9, 0.4], [0, 1, 1]
    expected = brier_score_loss(correct, confidence)
    assert find("brier_score")(confidence, correct) == pytest.approx(expected)
