"""The order of an epoch: each row once, or each class equally often."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Order(NamedTuple):
    """Which rows an epoch meets, one after the other."""

    rows: Sequence[int]
    """Row numbers in the training split."""
    repeats: Sequence[int]
    """How often the epoch met the row before: a repeated row is augmented anew."""


class Shuffled:
    """Every row once, by seed and epoch alone: any number of ranks sees the same.

    Args:
        rows: Rows of the training split.
        seed: Decides the order.
    """

    def __init__(self, rows: int, seed: int) -> None:
        self.rows, self.seed = rows, seed

    def __len__(self) -> int:
        return self.rows

    def epoch(self, number: int) -> Order:
        """Return the order of an epoch."""
        drawn = np.random.default_rng([self.seed, number]).permutation(self.rows)
        return Order(drawn.tolist(), [0] * self.rows)


class Balanced:
    """Every class as often as the most frequent one; no row is left out.

    A row of a rare class comes equally often as its neighbours, or once more; which ones do is
    drawn anew in each epoch.

    Args:
        classes: Class of each row, in any terms.
        seed: Decides the order and which rows come once more.
    """

    def __init__(self, classes: Sequence[Any], seed: int) -> None:
        self.seed = seed
        found: dict[Any, list[int]] = {}
        for row, name in enumerate(classes):
            found.setdefault(name, []).append(row)
        # By their first row: an order that neither hashing nor the type of the names decides.
        self.members: list[NDArray[np.int64]] = [np.asarray(rows) for rows in found.values()]
        self.most = max((len(rows) for rows in self.members), default=0)

    def __len__(self) -> int:
        return self.most * len(self.members)

    def epoch(self, number: int) -> Order:
        """Return the order of an epoch."""
        draw = np.random.default_rng([self.seed, number])
        rows, repeats = [], []
        for members in self.members:
            turns = np.arange(self.most) // len(members)
            rows.append(draw.permutation(members)[np.arange(self.most) % len(members)])
            repeats.append(turns)
        place = draw.permutation(len(self))
        if not len(place):
            return Order([], [])
        return Order(np.concatenate(rows)[place].tolist(), np.concatenate(repeats)[place].tolist())


def order(rows: int, classes: Sequence[Any] | None, *, seed: int) -> Shuffled | Balanced:
    """Return the order of epochs: balanced where classes are given.

    Args:
        rows: Rows of the training split.
        classes: Class of each row; None meets each row once.
        seed: Decides the order.
    """
    return Shuffled(rows, seed) if classes is None else Balanced(classes, seed)
