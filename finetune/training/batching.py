"""Which rows go together: global batches by the seed alone, cut to fit without changing the sum."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Batching:
    """How the global batch is cut."""

    global_batch_size: int
    """Rows of an optimiser step, over all ranks."""
    micro_batch_size: int
    """Most rows of a forward pass."""
    group_by_length: bool = True
    """Whether rows of similar length go together within a global batch."""
    workers: int = 0
    """Processes that make batches."""


@dataclass(frozen=True)
class MicroBatch:
    """Rows of one forward pass on one rank."""

    rows: list[int]
    """Row numbers in the training split."""
    filler: bool = False
    """Whether the rows only keep this rank in step with the others and carry no loss."""


@dataclass
class StepBatch:
    """One rank's share of a global batch, collated."""

    plan: list[MicroBatch]
    """What was collated."""
    batches: list[dict[str, Any]] = field(default_factory=list)
    """One batch per entry of the plan."""


def epoch_order(rows: int, seed: int, epoch: int) -> list[int]:
    """Return the order of an epoch, by seed and epoch alone: any number of ranks sees the same."""
    return [int(row) for row in np.random.default_rng([seed, epoch]).permutation(rows)]


def global_batches(order: Sequence[int], size: int) -> list[list[int]]:
    """Cut an epoch into global batches; the last one may be smaller, no row is left out."""
    return [list(order[start : start + size]) for start in range(0, len(order), size)]


def share(
    batch: Sequence[int], *, micro: int, rank: int, world: int, lengths: Sequence[int] | None = None
) -> list[MicroBatch]:
    """Return one rank's micro-batches of a global batch.

    Rows of similar length go together. Every rank gets the same number of micro-batches; where
    rows run out, a filler takes the place, since all ranks must meet in the gradient exchange.

    Args:
        batch: Row numbers of the global batch.
        micro: Most rows of a micro-batch.
        rank: This rank.
        world: Number of ranks.
        lengths: Length of each row of the split; None keeps the order.
    """
    ordered = (
        sorted(batch, key=lambda row: (-lengths[row], row)) if lengths is not None else list(batch)
    )
    per_rank = -(-len(ordered) // (micro * world))
    pieces = np.array_split(np.asarray(ordered, dtype=np.int64), per_rank * world)
    mine = [[int(row) for row in piece] for piece in pieces[rank::world]]
    return [MicroBatch(rows) if rows else MicroBatch([ordered[-1]], filler=True) for rows in mine]


class StepSampler:
    """Yields this rank's plan for each optimiser step: the batch sampler of torch's DataLoader.

    Args:
        rows: Rows of the training split.
        size: Rows of a global batch.
        micro: Most rows of a micro-batch.
        seed: Decides the order.
        rank: This rank.
        world: Number of ranks.
        lengths: Length of each row, to group by; None does not group.
    """

    def __init__(
        self,
        rows: int,
        *,
        size: int,
        micro: int,
        seed: int,
        rank: int,
        world: int,
        lengths: Sequence[int] | None,
    ) -> None:
        self.rows, self.size, self.micro, self.seed = rows, size, micro, seed
        self.rank, self.world, self.lengths = rank, world, lengths
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order is yielded next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.rows // self.size)

    def __iter__(self) -> Iterator[list[list[MicroBatch]]]:
        for batch in global_batches(epoch_order(self.rows, self.seed, self.epoch), self.size):
            yield [
                share(
                    batch, micro=self.micro, rank=self.rank, world=self.world, lengths=self.lengths
                )
            ]


def halve(plan: Sequence[MicroBatch]) -> list[MicroBatch]:
    """Cut every micro-batch of more than one row in two."""
    result = []
    for micro in plan:
        middle = (len(micro.rows) + 1) // 2
        result += [
            MicroBatch(part, micro.filler)
            for part in (micro.rows[:middle], micro.rows[middle:])
            if part
        ]
    return result
