"""One global batch forward and backward: micro-batches and ranks only cut it up."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import torch

from finetune.tasks.base import Batch, CoupledTask, Task
from finetune.training import ranks
from finetune.training.coupled import CoupledStep
from finetune.training.memory import agreed

if TYPE_CHECKING:
    from torch import Tensor, nn

    from finetune.training.exchange import Exchange


def units(task: Task, batches: Sequence[Batch], fillers: Sequence[bool], world: int) -> float:
    """Return the units of the global batch: what its loss is divided by."""
    own = sum(task.units(b) for b, filler in zip(batches, fillers, strict=True) if not filler)
    device = next(iter(batches[0].values())).device
    return float(ranks.total(torch.tensor(own, device=device, dtype=torch.float64), world))


def backward(
    task: Task,
    model: nn.Module,
    batches: Sequence[Batch],
    fillers: Sequence[bool],
    *,
    units: float,
    world: int,
    exchange: Exchange,
    inner: nn.Module,
    precision: Callable[[], AbstractContextManager[Any]],
) -> Tensor:
    """Add the gradient of a global batch's mean loss to the weights, and return that loss.

    Args:
        task: Knows the loss.
        model: As wrapped for several ranks.
        batches: This rank's micro-batches.
        fillers: Which of them carry no loss.
        units: Of the global batch, over all ranks.
        world: Number of ranks.
        exchange: How ranks come to one gradient.
        inner: The model itself.
        precision: Opens the context in which the loss is computed.

    Raises:
        OutOfMemory: On every rank, when memory ran out on one; the gradient is then of no use.
    """
    guard = contextlib.nullcontext if exchange.together else lambda: agreed(world)
    own = torch.zeros((), device=next(iter(batches[0].values())).device, dtype=torch.float64)
    with exchange.forward():
        coupled: CoupledStep | None = None
        if isinstance(task, CoupledTask):
            coupled = CoupledStep(task, model, batches, fillers)
            with guard(), precision():
                coupled.embed()
            with precision():
                coupled.differentiate(inner)
        with guard():
            for number, (batch, filler) in enumerate(zip(batches, fillers, strict=True)):
                last = number == len(batches) - 1
                with precision():
                    if coupled is not None:
                        loss = coupled.surrogate(
                            number, batch, factor=exchange.factor, world=world, last=last
                        )
                        loss = loss / units
                    else:
                        summed, _ = task.loss(model, batch)
                        summed = summed * 0 if filler else summed
                        own += summed.detach().double()
                        loss = summed * (exchange.factor / units)
                exchange.backward(loss, last=last)
    exchange.finish()
    everything = coupled.total.detach().double() if coupled is not None else ranks.total(own, world)
    return (everything / units).float()
