"""Preferences: how often the better answer is preferred, by how much, and the loss on that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from finetune.metrics.base import Array, Metric, divide, row_mean, with_count

NEITHER = "neither"
"""A prediction that prefers no answer: the untouched base model's, relative to itself."""


def _accuracy(predictions: Sequence[Any], references: Sequence[Any]) -> Array:
    """Return 1 for the right answer, 1/2 for none, 0 for the wrong one."""
    return with_count(
        [
            0.5 if given == NEITHER else float(given == wanted)
            for given, wanted in zip(predictions, references, strict=True)
        ]
    )


def _margins(predictions: Sequence[Any], references: Sequence[Any]) -> Array:
    del references
    return with_count([float(margin) for margin in predictions])


def _losses(predictions: Sequence[Any], references: Sequence[Any]) -> Array:
    """Return (loss summed over units, units) of each row as they are."""
    del references
    return np.asarray(predictions, dtype=np.float64).reshape(-1, 2)


preference_accuracy = Metric(
    "preference_accuracy",
    _accuracy,
    row_mean,
    description="Share of the pairs whose better answer is preferred; no preference is half.",
)
reward_margin = Metric(
    "reward_margin",
    _margins,
    row_mean,
    description="How much more training favoured the better answer than the other; above 0 it did.",
)
preference_loss = Metric(
    "preference_loss",
    _losses,
    lambda sums: divide(sums[..., 0], sums[..., 1]),
    greater_is_better=False,
    description="What training makes small, averaged over the pairs.",
)
