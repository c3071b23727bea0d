"""What ranks tell each other: sums, the largest number, whole objects; with one rank, nothing.

Numbers travel over gloo from the CPU, also where gradients travel over NCCL: a rank that hangs is
then met in a call that ends after `train.dist_timeout`, and not on the device, where nothing ends.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import distributed

from finetune.runs.folder import RunFolder
from finetune.runs.partners import explained, meet

__all__ = ["barrier", "explained", "gathered", "join", "largest", "together", "total"]

Part = TypeVar("Part")

_seconds = 600.0
_groups: dict[Any, Any] = {}


def join(run: RunFolder | Path, rank: int, world: int, *, timeout: float, device: str) -> None:
    """Wait for all ranks, and set how long they wait for each other from now on.

    To be called just before transformers makes the group. On a CPU the group is made here:
    transformers 5.23 drops its `ddp_timeout` there, and gloo would wait for half an hour.
    """
    global _seconds
    _seconds = timeout
    meet(run, rank, world, timeout=timeout)
    if world > 1 and device == "cpu" and not distributed.is_initialized():
        distributed.init_process_group("gloo", timeout=timedelta(seconds=timeout))


def together(run: RunFolder | Path, trainer: Any) -> AbstractContextManager[None]:
    """Return the context in which ranks train: what happens to one ends all, see `explained`."""
    rank, world = trainer.args.process_index, trainer.args.world_size
    return explained(run, rank, world, lambda: trainer.state.global_step, timeout=_seconds)


def group() -> Any:
    """Return the group over which numbers travel: all ranks, by gloo; made on first use."""
    everyone = distributed.group.WORLD
    if distributed.get_backend() == "gloo":
        return everyone
    if everyone not in _groups:
        _groups.clear()  # of a job that has ended
        waits = timedelta(seconds=_seconds)
        _groups[everyone] = distributed.new_group(backend="gloo", timeout=waits)
    return _groups[everyone]


def total(value: torch.Tensor, world: int) -> torch.Tensor:
    """Return the sum of a number over all ranks."""
    if world == 1:
        return value
    summed = value.detach().to("cpu", copy=True)
    distributed.all_reduce(summed, group=group())
    return summed.to(value.device)


def largest(number: int, world: int, device: Any = None) -> int:
    """Return the largest of the ranks' numbers; they travel from the CPU, whatever the device."""
    del device
    if world == 1:
        return number
    seen = torch.tensor(number)
    distributed.all_reduce(seen, op=distributed.ReduceOp.MAX, group=group())
    return int(seen)


def gathered(part: Part, world: int) -> list[Part]:
    """Return every rank's part, in the order of ranks."""
    if world == 1:
        return [part]
    parts: list[Any] = [None] * world
    distributed.all_gather_object(parts, part, group=group())
    return parts


def barrier(world: int) -> None:
    """Wait until all ranks are here."""
    if world > 1:
        distributed.barrier(group=group())
