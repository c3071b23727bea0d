"""How sure a score is: bootstrap intervals over rows, and paired differences of two models.

The percentile bootstrap (Efron & Tibshirani 1993, ch. 13; Koehn 2004 for corpus metrics). It knows
only the rows it was given: a model without a single error gets an interval of width zero.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from finetune.errors import ConfigError
from finetune.metrics.base import Array, Metric

CHUNK = 4_000_000
"""Bootstrap weights held at once: 32 MB, whatever the number of rows and resamples."""
FEWEST_ROWS = 10
"""Below these no difference is tested: a resample of a handful of rows knows next to nothing."""


@dataclass(frozen=True)
class Estimate:
    """A score with the ends of its confidence interval; `low` ≤ `value` ≤ `high`."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        """Return plain floats for strict JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Difference:
    """First model minus second on the same rows, with interval and two-sided p-value.

    Neither is known on fewer rows than `FEWEST_ROWS`; nor an interval where all rows differ alike,
    so that resampling cannot vary.
    """

    difference: float
    low: float | None = None
    high: float | None = None
    p_value: float | None = None

    def as_dict(self) -> dict[str, float | None]:
        """Return plain floats for strict JSON."""
        return asdict(self)


def estimate(
    metric: Metric,
    predictions: Sequence[Any],
    references: Sequence[Any],
    *,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Return one metric over all rows with its bootstrap interval; the same seed, the same bytes.

    Raises:
        ConfigError: `confidence` or `resamples` is out of range.
        DataError: There are no rows, or not as many predictions as references.
        NumericsError: A row's statistics are not finite.
    """
    return score(
        [metric],
        predictions,
        references,
        confidence=confidence,
        resamples=resamples,
        seed=seed,
    )[metric.name]


def score(
    metrics: Iterable[Metric],
    predictions: Sequence[Any],
    references: Sequence[Any],
    *,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Return every metric by name, in the order given; raises as `estimate` does.

    Metrics that share their statistics (macro F1, precision, recall) share the resampling too.
    """
    _check(confidence, resamples)
    asked = list(metrics)
    families: dict[Callable[..., Array], list[Metric]] = defaultdict(list)
    for metric in asked:
        families[metric.statistics].append(metric)
    found: dict[str, Estimate] = {}
    for family in families.values():
        statistics = family[0].measure(predictions, references)
        whole = statistics.sum(axis=0)
        replicates: dict[str, list[Array]] = defaultdict(list)
        for sums in resampled_sums(statistics, resamples, seed):
            for metric in family:
                replicates[metric.name].append(metric.value(sums))
        for metric in family:
            found[metric.name] = interval(
                float(metric.value(whole)), np.concatenate(replicates[metric.name]), confidence
            )
    return {metric.name: found[metric.name] for metric in asked}


def paired_difference(
    metric: Metric,
    predictions_a: Sequence[Any],
    predictions_b: Sequence[Any],
    references: Sequence[Any],
    *,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Difference:
    """Compare two models on the same resampled rows; raises as `estimate` does.

    The difference is `a` minus `b` also when lower is better. `p_value` is two-sided: twice the
    smaller share of resamples on either side of zero, never below 2 / (resamples + 1), and never
    below what the sign test gives when every row points the same way.
    """
    _check(confidence, resamples)
    first = metric.measure(predictions_a, references)
    second = metric.measure(predictions_b, references)
    width, rows = first.shape[1], len(first)
    both = np.concatenate([first, second], axis=1)
    whole = both.sum(axis=0)
    observed = float(metric.value(whole[:width]) - metric.value(whole[width:]))
    if rows < FEWEST_ROWS:
        return Difference(observed)
    differences = np.concatenate(
        [
            metric.value(sums[:, :width]) - metric.value(sums[:, width:])
            for sums in resampled_sums(both, resamples, seed)
        ]
    )
    # One resample is the data itself, so no p-value is ever 0 (Davison & Hinkley 1997, §4.2).
    smaller = min(int(np.sum(differences <= 0)), int(np.sum(differences >= 0)))
    p_value = min(1.0, max(2 * (smaller + 1) / (resamples + 1), 2.0 ** (1 - rows)))
    if observed and np.ptp(differences) <= 1e-9 * abs(observed):
        return Difference(observed, p_value=p_value)
    bounds = interval(observed, differences, confidence)
    return Difference(observed, bounds.low, bounds.high, p_value)


def interval(value: float, replicates: Array, confidence: float) -> Estimate:
    """Return the percentile interval, widened where need be to hold the value itself.

    A biased metric on few rows (BLEU, perplexity) can lie outside its own percentiles.
    """
    tail = (1 - confidence) / 2
    low, high = np.quantile(replicates, [tail, 1 - tail])
    return Estimate(value, min(float(low), value), max(float(high), value))


def resampled_sums(statistics: Array, resamples: int, seed: int) -> Iterator[Array]:
    """Yield chunks (replicates, k) of statistics summed over rows drawn with replacement.

    Rows with equal statistics are interchangeable: where most are (accuracy has two kinds), the
    number drawn of each kind is multinomial, and a million rows cost no more than two.
    """
    generator = np.random.default_rng(seed)
    rows = len(statistics)
    kinds, counts = _distinct(statistics)
    grouped = len(kinds) * 4 <= rows
    table = kinds if grouped else statistics
    chunk = max(1, min(resamples, CHUNK // max(table.shape)))
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        if grouped:
            weights = generator.multinomial(rows, counts / rows, size=size).astype(np.float64)
        else:
            weights = np.empty((size, rows))
            for replicate in weights:
                replicate[:] = np.bincount(generator.integers(0, rows, rows), minlength=rows)
        yield weights @ table


def _distinct(statistics: Array) -> tuple[Array, npt.NDArray[np.int64]]:
    """Return the distinct rows and how often each occurs, comparing bytes: exact and fast."""
    rows = np.ascontiguousarray(statistics)
    keys = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
    _, first, counts = np.unique(keys, return_index=True, return_counts=True)
    return rows[first], counts


def _check(confidence: float, resamples: int) -> None:
    if not 0 < confidence < 1:
        raise ConfigError(
            f"`confidence` must lie between 0 and 1, got {confidence}.", fix="Use 0.95."
        )
    if resamples < 1:
        raise ConfigError(f"`resamples` must be at least 1, got {resamples}.", fix="Use 1000.")
