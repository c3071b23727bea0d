"""Which rows go together: global batches by the seed alone, cut to fit without changing the sum."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from finetune.training.sampling import Balanced, Shuffled


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


Visit = tuple[int, int]
"""The epoch, and how often it met the row before."""


@dataclass(frozen=True)
class MicroBatch:
    """Rows of one forward pass on one rank."""

    rows: list[int]
    """Row numbers in the training split."""
    filler: bool = False
    """Whether the rows only keep this rank in step with the others and carry no loss."""
    visits: list[Visit] = field(default_factory=list)
    """Of each row: what augmentation is drawn by, beside the seed and the row."""


@dataclass
class StepBatch:
    """One rank's share of a global batch, collated."""

    plan: list[MicroBatch]
    """What was collated."""
    batches: list[dict[str, Any]] = field(default_factory=list)
    """One batch per entry of the plan."""


def share(
    batch: Sequence[int],
    *,
    micro: int,
    rank: int,
    world: int,
    lengths: Sequence[int] | None = None,
    visits: Sequence[Visit] | None = None,
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
        visits: Of each row of the batch; None where nothing asks for them.
    """
    places = list(range(len(batch)))
    if lengths is not None:
        places.sort(key=lambda place: (-lengths[batch[place]], batch[place], place))
    per_rank = -(-len(places) // (micro * world))
    own = np.asarray(places, dtype=np.int64)
    if lengths is not None:
        own = own[dealt(len(places), world) == rank]
        pieces = np.array_split(own, per_rank)
    else:
        pieces = np.array_split(own, per_rank * world)[rank::world]

    def taken(chosen: Sequence[int], *, filler: bool) -> MicroBatch:
        return MicroBatch(
            [batch[place] for place in chosen],
            filler,
            [visits[place] for place in chosen] if visits is not None else [],
        )

    return [taken(piece.tolist() or places[-1:], filler=not len(piece)) for piece in pieces]


def dealt(count: int, world: int) -> Any:
    """Return the rank of each row, the longest first: there and back, so that all have as much.

    Dealt in turns, the first rank would have the longer one of every few rows; in blocks, all the
    long ones, and the others would wait for it.
    """
    turn, place = np.divmod(np.arange(count), world)
    return np.where(turn % 2 == 0, place, world - 1 - place)


class StepSampler:
    """Yields this rank's plan for each optimiser step: the batch sampler of torch's DataLoader.

    Args:
        order: Which rows an epoch meets.
        size: Rows of a global batch.
        micro: Most rows of a micro-batch.
        rank: This rank.
        world: Number of ranks.
        lengths: Length of each row, to group by; None does not group.
    """

    def __init__(
        self,
        order: Shuffled | Balanced,
        *,
        size: int,
        micro: int,
        rank: int,
        world: int,
        lengths: Sequence[int] | None,
    ) -> None:
        self.order, self.size, self.micro = order, size, micro
        self.rank, self.world, self.lengths = rank, world, lengths
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order is yielded next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.order) // self.size)

    def __iter__(self) -> Iterator[list[list[MicroBatch]]]:
        rows, repeats = self.order.epoch(self.epoch)
        for start in range(0, len(rows), self.size):  # the last one may be smaller
            end = start + self.size
            yield [
                share(
                    rows[start:end],
                    micro=self.micro,
                    rank=self.rank,
                    world=self.world,
                    lengths=self.lengths,
                    visits=[(self.epoch, repeat) for repeat in repeats[start:end]],
                )
            ]


def halve(plan: Sequence[MicroBatch]) -> list[MicroBatch]:
    """Cut every micro-batch of more than one row in two."""
    result = []
    for micro in plan:
        middle = (len(micro.rows) + 1) // 2
        result += [
            MicroBatch(micro.rows[part], micro.filler, micro.visits[part])
            for part in (slice(middle), slice(middle, None))
            if micro.rows[part]
        ]
    return result
