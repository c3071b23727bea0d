"""Classification: accuracy, precision, recall and F1, overall and for each class.

Labels are compared as strings, so that `3` and `"3"` are the same class. A ratio that is 0/0 (a
class never predicted) is 0; of a class without a row nothing is known, and none is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from finetune.metrics.base import Array, Metric, divide, row_mean, with_count


def confusion_matrix(
    predictions: Sequence[Any], references: Sequence[Any], labels: Sequence[Any] | None = None
) -> npt.NDArray[np.int64]:
    """Count the pairs of classes: rows are references, columns are predictions.

    Args:
        predictions: The predicted labels.
        references: The true labels.
        labels: Classes in the order wanted; by default `class_names`. A pair with a label that is
            not among them is left out, as scikit-learn does.

    Returns:
        Counts, shape (classes, classes).
    """
    names = class_names(predictions, references) if labels is None else [str(x) for x in labels]
    predicted, true = _codes(predictions, names), _codes(references, names)
    known = (predicted >= 0) & (true >= 0)
    pairs = true[known] * len(names) + predicted[known]
    return np.bincount(pairs, minlength=len(names) ** 2).reshape(len(names), len(names))


def per_class(
    predictions: Sequence[Any], references: Sequence[Any], labels: Sequence[Any] | None = None
) -> dict[str, dict[str, float | None]]:
    """Return {label: {precision, recall, f1, support}} for every class; `support` is its rows.

    The three are None without any.
    """
    names = class_names(predictions, references) if labels is None else [str(x) for x in labels]
    sums = _class_statistics(predictions, references, names).sum(axis=0)
    columns = {"precision": _precisions(sums), "recall": _recalls(sums), "f1": _f1s(sums)}
    support = [int(rows) for rows in _split(sums)[2]]
    return {
        name: {
            **{key: float(found[at]) if support[at] else None for key, found in columns.items()},
            "support": support[at],
        }
        for at, name in enumerate(names)
    }


def class_names(predictions: Sequence[Any], references: Sequence[Any]) -> list[str]:
    """Return every label that occurs on either side, sorted."""
    return sorted({str(label) for label in predictions} | {str(label) for label in references})


def _codes(labels: Sequence[Any], names: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return each label's place in `names`, -1 for a stranger."""
    index = {name: code for code, name in enumerate(names)}
    return np.fromiter((index.get(str(x), -1) for x in labels), np.int64, count=len(labels))


def _class_statistics(
    predictions: Sequence[Any], references: Sequence[Any], names: Sequence[str]
) -> Array:
    """Return (rows, 3 · classes) of zeros and ones: hit, predicted, present, for each class."""
    predicted, true = _codes(predictions, names), _codes(references, names)
    found = np.zeros((len(true), 3, len(names)))
    rows = np.arange(len(true))
    hit, guessed, present = (true >= 0) & (true == predicted), predicted >= 0, true >= 0
    found[rows[hit], 0, true[hit]] = 1
    found[rows[guessed], 1, predicted[guessed]] = 1
    found[rows[present], 2, true[present]] = 1
    return found.reshape(len(true), -1)


def _reference_class_statistics(predictions: Sequence[Any], references: Sequence[Any]) -> Array:
    return _class_statistics(predictions, references, sorted({str(x) for x in references}))


def _split(sums: Array) -> tuple[Array, Array, Array]:
    """Return hits, predicted and support, each (..., classes)."""
    parts = sums.reshape(*sums.shape[:-1], 3, -1)
    return parts[..., 0, :], parts[..., 1, :], parts[..., 2, :]


def _precisions(sums: Array) -> Array:
    hits, predicted, _ = _split(sums)
    return divide(hits, predicted)


def _recalls(sums: Array) -> Array:
    hits, _, support = _split(sums)
    return divide(hits, support)


def _f1s(sums: Array) -> Array:
    hits, predicted, support = _split(sums)
    return divide(2 * hits, predicted + support)


def _macro(values: Array, sums: Array) -> Array:
    """Average over the classes that the rows at hand have; a resample may have lost a rare one."""
    present = _split(sums)[2] > 0
    return divide((values * present).sum(axis=-1), present.sum(axis=-1))


def _weighted(values: Array, sums: Array) -> Array:
    support = _split(sums)[2]
    return divide((values * support).sum(axis=-1), support.sum(axis=-1))


def _accuracy_statistics(predictions: Sequence[Any], references: Sequence[Any]) -> Array:
    return with_count([str(p) == str(r) for p, r in zip(predictions, references, strict=True)])


accuracy = Metric(
    "accuracy",
    _accuracy_statistics,
    row_mean,
    description="Share of the rows that were given the right label; 1 is all of them.",
)
macro_f1 = Metric(
    "macro_f1",
    _reference_class_statistics,
    lambda sums: _macro(_f1s(sums), sums),
    description="F1, high only where precision and recall are, averaged over the classes.",
)
macro_precision = Metric(
    "macro_precision",
    _reference_class_statistics,
    lambda sums: _macro(_precisions(sums), sums),
    description="Of the rows given a class, the share that belongs to it; averaged over classes.",
)
macro_recall = Metric(
    "macro_recall",
    _reference_class_statistics,
    lambda sums: _macro(_recalls(sums), sums),
    description="Of the rows of a class, the share that was found; averaged over classes.",
)
weighted_f1 = Metric(
    "weighted_f1",
    _reference_class_statistics,
    lambda sums: _weighted(_f1s(sums), sums),
    description="F1, high only where precision and recall are, averaged by the rows of each class.",
)
