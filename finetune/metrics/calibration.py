"""Calibration: whether answers given with probability p are right with frequency p.

Predictions are the probabilities of the given answers; references say whether each was right (1/0).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from finetune.metrics.base import Array, Metric, divide, row_mean, with_count

BINS = 15
"""Equal-width bins of probability, as in Guo et al. 2017, "On Calibration of Modern Networks"."""


def _bin_statistics(predictions: Sequence[Any], references: Sequence[Any]) -> Array:
    """Return (rows, 2 · bins): in the row's bin, confidence minus correctness, and a 1."""
    confidence = np.asarray(predictions, dtype=np.float64)
    correct = np.asarray(references, dtype=np.float64)
    rows = np.arange(len(confidence))
    bins = np.clip(np.nan_to_num(confidence) * BINS, 0, BINS - 1).astype(np.int64)
    found = np.zeros((len(confidence), 2, BINS))
    found[rows, 0, bins] = confidence - correct
    found[rows, 1, bins] = 1
    return found.reshape(len(confidence), -1)


def _calibration_error(sums: Array) -> Array:
    gaps, counts = sums[..., :BINS], sums[..., BINS:]
    return divide(np.abs(gaps).sum(axis=-1), counts.sum(axis=-1))


def _squared_errors(predictions: Sequence[Any], references: Sequence[Any]) -> Array:
    confidence = np.asarray(predictions, dtype=np.float64)
    return with_count((confidence - np.asarray(references, dtype=np.float64)) ** 2)


expected_calibration_error = Metric(
    "expected_calibration_error",
    _bin_statistics,
    _calibration_error,
    greater_is_better=False,
    description="How far stated certainty is from how often that was right; 0 is perfect.",
)
brier_score = Metric(
    "brier_score",
    _squared_errors,
    row_mean,
    greater_is_better=False,
    description="How far stated certainty is from right (1) or wrong (0), squared; 0 is best.",
)
