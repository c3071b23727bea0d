"""What a metric is: sufficient statistics for each row, and a value for their sum.

Because every metric, BLEU and macro F1 included, is a function of a sum over rows, its bootstrap
replicates are functions of a *weighted* sum: an interval costs a matrix product, not a recount.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from finetune.errors import DataError, NumericsError

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Metric:
    """A named score of predictions against references.

    A new metric is one module-level `Metric` in a file of this package; its name is then known
    everywhere. Neither function may return NaN or raise on one row, one class or empty strings.
    """

    name: str
    """How recipes, reports and logs call it; also the name of its variable."""
    statistics: Callable[[Sequence[Any], Sequence[Any]], Array]
    """(predictions, references) → (rows, k) float64, one row of sufficient statistics each."""
    value: Callable[[Array], Array]
    """Summed statistics (..., k) → (...): vectorised over leading axes, for the bootstrap."""
    greater_is_better: bool = True
    """Whether a higher value is a better model."""
    description: str = ""
    """One sentence for the report: what is counted, on which scale."""

    def measure(self, predictions: Sequence[Any], references: Sequence[Any]) -> Array:
        """Return the statistics of each row, shape (rows, k), checked.

        Raises:
            DataError: There are no rows, or not as many predictions as references.
            NumericsError: A row's statistics are not finite.
        """
        if len(predictions) != len(references):
            raise DataError(
                f"`{self.name}` needs one prediction for each reference, got {len(predictions)} "
                f"predictions and {len(references)} references.",
                fix="Pass both in the same order, one for each row.",
            )
        if len(references) == 0:
            raise DataError(
                f"`{self.name}` has no rows to score.", fix="Evaluate on a split that has rows."
            )
        statistics = np.asarray(self.statistics(predictions, references), dtype=np.float64)
        finite = np.isfinite(statistics).all(axis=1)
        if not finite.all():
            row = int(np.argmin(finite))
            raise NumericsError(
                f"`{self.name}` is undefined for row {row}: the prediction is "
                f"{predictions[row]!r}.",
                fix="The model gives non-finite numbers; lower the learning rate or the precision.",
            )
        return statistics

    def __call__(self, predictions: Sequence[Any], references: Sequence[Any]) -> float:
        """Return the value over all rows, without an interval."""
        return float(self.value(self.measure(predictions, references).sum(axis=0)))


def divide(numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> Array:
    """Divide elementwise with 0 where the denominator is 0, so that no score is ever NaN."""
    top, bottom = np.broadcast_arrays(
        np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    )
    quotient: Array = np.divide(top, bottom, out=np.zeros(top.shape), where=bottom != 0)
    return quotient


def row_mean(sums: Array) -> Array:
    """Return the mean over rows from summed (score, 1) statistics, shape (..., 2) → (...)."""
    return divide(sums[..., 0], sums[..., 1])


def with_count(scores: npt.ArrayLike) -> Array:
    """Pair each row's score with a 1, shape (rows,) → (rows, 2): the statistics of a mean."""
    column = np.asarray(scores, dtype=np.float64)
    return np.stack([column, np.ones_like(column)], axis=-1)
