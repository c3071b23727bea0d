"""Scores of predictions against references, each with its interval; pure functions of rows."""

from finetune.metrics.base import Metric
from finetune.metrics.discovery import find, names
from finetune.metrics.intervals import Difference, Estimate, estimate, paired_difference, score
from finetune.metrics.modules import load, score_by_name

__all__ = [
    "Difference",
    "Estimate",
    "Metric",
    "estimate",
    "find",
    "load",
    "names",
    "paired_difference",
    "score",
    "score_by_name",
]
