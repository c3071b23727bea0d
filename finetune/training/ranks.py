"""What ranks tell each other: sums, the largest number, whole objects; with one rank, nothing."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import distributed

Part = TypeVar("Part")


def total(value: torch.Tensor, world: int) -> torch.Tensor:
    """Return the sum of a number over all ranks."""
    if world > 1:
        value = value.clone()
        distributed.all_reduce(value)
    return value


def largest(number: int, world: int, device: Any) -> int:
    """Return the largest of the ranks' numbers."""
    if world == 1:
        return number
    seen = torch.tensor(number, device=device)
    distributed.all_reduce(seen, op=distributed.ReduceOp.MAX)
    return int(seen)


def gathered(part: Part, world: int) -> list[Part]:
    """Return every rank's part, in the order of ranks."""
    if world == 1:
        return [part]
    parts: list[Any] = [None] * world
    distributed.all_gather_object(parts, part)
    return parts


def barrier(world: int) -> None:
    """Wait until all ranks are here."""
    if world > 1:
        distributed.barrier()
