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

if TYPE_CHECKING:
    from torch import Tensor, nn


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
    accelerator: Any,
    precision: Callable[[], AbstractContextManager[Any]],
) -> Tensor:
    """Add the gradient of a global batch's mean loss to the weights, and return that loss.

    Args:
        task: Knows the loss.
        model: As wrapped for several ranks, whose gradients will be averaged.
        batches: This rank's micro-batches.
        fillers: Which of them carry no loss.
        units: Of the global batch, over all ranks.
        world: Number of ranks.
        accelerator: Runs the backward pass, and holds the exchange back until the last one.
        precision: Opens the context in which the loss is computed.
    """
    coupled: CoupledStep | None = None
    if isinstance(task, CoupledTask):
        with precision():
            inner = accelerator.unwrap_model(model)
            coupled = CoupledStep(task, model, inner, batches, fillers)
    own = torch.zeros((), device=next(iter(batches[0].values())).device, dtype=torch.float64)
    for number, (batch, filler) in enumerate(zip(batches, fillers, strict=True)):
        last = number == len(batches) - 1
        with contextlib.nullcontext() if last else accelerator.no_sync(model):
            with precision():
                if coupled is not None:
                    loss = coupled.surrogate(number, batch, world=world, last=last) / units
                else:
                    summed, _ = task.loss(model, batch)
                    summed = summed * 0 if filler else summed
                    own += summed.detach().double()
                    loss = summed * (world / units)
            accelerator.backward(loss)
    everything = coupled.total.detach().double() if coupled is not None else ranks.total(own, world)
    return (everything / units).float()
