"""Retrieval: recall at k, mean rank and reciprocal rank, from the rank of the first right item.

Predictions are ranks from `ranks`, 1 is best; references are ignored. `AnyRank` stands for a guess.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from finetune.errors import DataError, NumericsError
from finetune.metrics.base import Array, Metric, row_mean, with_count
from finetune.metrics.classification import accuracy


@dataclass(frozen=True)
class AnyRank:
    """The rank that blind guessing gives: each of so many candidates equally likely to be first.

    It counts as its expectation, so that chance has no luck.
    """

    candidates: int


def same(queries: Sequence[Any], items: Sequence[Any]) -> npt.NDArray[np.bool_]:
    """Return which items are right for which query, shape (queries, items), by equal keys.

    With the captions as keys on both sides, a caption that two pictures share is right for both.
    """
    codes: dict[Any, int] = {}
    left = [codes.setdefault(key, len(codes)) for key in queries]
    right = [codes.setdefault(key, len(codes)) for key in items]
    return np.equal.outer(np.asarray(left, dtype=np.int64), np.asarray(right, dtype=np.int64))


def ranks(similarity: npt.ArrayLike, relevant: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Rank the best relevant item of each query, counting from 1.

    Any relevant item counts. A tie with an irrelevant item counts against the query, so a model
    that finds all things equally similar comes last and not first. A query without a relevant
    item gets the rank after the last.

    Args:
        similarity: Scores, shape (queries, items), higher is closer.
        relevant: Booleans of the same shape (see `same`), or one item's index for each query.

    Returns:
        Ranks, shape (queries,).

    Raises:
        DataError: The shapes disagree, or an index is not one of an item.
        NumericsError: A similarity is NaN.
    """
    scores = np.asarray(similarity)
    right = np.asarray(relevant)
    if scores.ndim == 2 and right.shape == scores.shape[:1] and right.dtype.kind in "iu":
        if right.size and not (right.min() >= 0 and right.max() < scores.shape[1]):
            raise DataError(
                f"The relevant item must be one of 0 to {scores.shape[1] - 1}, got "
                f"{int(right.min())} to {int(right.max())}.",
                fix="Give each query the column of its item in `similarity`.",
            )
        right = np.arange(scores.shape[1]) == right[:, None]
    if scores.ndim != 2 or right.shape != scores.shape:
        raise DataError(
            f"`relevant` must fit `similarity` of shape {scores.shape}, got shape {right.shape}.",
            fix="Pass booleans (queries, items), or one item's index for each query.",
        )
    if np.isnan(scores).any():
        row = int(np.argmax(np.isnan(scores).any(axis=1)))
        raise NumericsError(
            f"The similarities of query {row} are not numbers.",
            fix="The model gives non-finite numbers; lower the learning rate or the precision.",
        )
    right = right.astype(bool)
    best = np.where(right, scores, -np.inf).max(axis=1, initial=-np.inf, keepdims=True)
    ahead = (~right & (scores >= best)).sum(axis=1)
    return np.asarray(ahead + 1, dtype=np.int64)


def _mean_of(rate: Callable[[Array], npt.ArrayLike]) -> Callable[..., Array]:
    def statistics(predictions: Sequence[Any], references: Sequence[Any]) -> Array:
        del references  # a rank has looked at them already
        guesses = {rank for rank in predictions if isinstance(rank, AnyRank)}
        expected = {
            guess: float(np.asarray(rate(np.arange(1.0, guess.candidates + 1))).mean())
            for guess in guesses
        }
        known = [1.0 if isinstance(rank, AnyRank) else rank for rank in predictions]
        found = np.asarray(rate(np.asarray(known, dtype=np.float64)), dtype=np.float64)
        return with_count(
            [
                expected[rank] if isinstance(rank, AnyRank) else value
                for rank, value in zip(predictions, found, strict=True)
            ]
            if guesses
            else found
        )

    return statistics


def _recall_at(k: int) -> Metric:
    return Metric(
        f"recall_at_{k}",
        _mean_of(lambda rank: rank <= k),
        row_mean,
        description=(
            f"Share of the rows whose right item is among the {k} that the model likes best."
            if k > 1
            else "Share of the rows whose right item is the model's first choice."
        ),
    )


recall_at_1 = _recall_at(1)
recall_at_5 = _recall_at(5)
recall_at_10 = _recall_at(10)
mean_rank = Metric(
    "mean_rank",
    _mean_of(lambda rank: rank),
    row_mean,
    greater_is_better=False,
    description="Place of the right item when the model sorts them all, on average; 1 is best.",
)
mrr = Metric(
    "mrr",
    _mean_of(lambda rank: 1 / rank),
    row_mean,
    description="1 divided by the place of the right item, averaged: always second would be 0.5.",
)


def _chosen(predictions: Sequence[Any], references: Sequence[Any]) -> Array:
    return with_count(
        [
            1 / given.candidates if isinstance(given, AnyRank) else str(given) == str(wanted)
            for given, wanted in zip(predictions, references, strict=True)
        ]
    )


zero_shot_accuracy = replace(
    accuracy,
    name="zero_shot_accuracy",
    statistics=_chosen,
    description="Share of the rows whose nearest description is the true one; 1 is all of them.",
)
