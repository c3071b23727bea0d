"""How ranks come to one gradient: whole copies that are added up, or shards that add up themselves.

What a task's loss is scaled by differs: copies are summed, shards are averaged by their library.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import distributed

if TYPE_CHECKING:
    from torch import Tensor, nn

BUCKET_BYTES = 64 * 2**20
"""Gradients travel in pieces of about this size."""


class Exchange(Protocol):
    """What a step needs of the ranks' way to one gradient."""

    factor: float
    """What each rank's summed loss is multiplied by."""
    together: bool
    """Whether ranks meet within forward and backward passes."""

    def forward(self) -> AbstractContextManager[Any]:
        """Return the context that the passes of a step run in."""
        ...

    def backward(self, loss: Tensor, *, last: bool) -> None:
        """Add a micro-batch's gradient."""

    def finish(self) -> None:
        """Leave the gradient of the global batch on every rank."""


class Copies:
    """Every rank holds the whole model: gradients are added up once, after the last micro-batch.

    Nothing is exchanged before all micro-batches went well, so that a rank which runs out of
    memory keeps nobody waiting and the step can be cut smaller.

    Args:
        accelerator: Runs the backward pass.
        model: As wrapped for data parallelism, if it is.
        world: Number of ranks.
    """

    factor = 1.0
    together = False

    def __init__(self, accelerator: Any, model: nn.Module, world: int) -> None:
        self.accelerator, self.model, self.world = accelerator, model, world

    def forward(self) -> AbstractContextManager[Any]:
        """Return the context that the forward and backward passes of a step run in."""
        if self.world == 1:
            return contextlib.nullcontext()
        context: AbstractContextManager[Any] = self.accelerator.no_sync(self.model)
        return context

    def backward(self, loss: Tensor, *, last: bool) -> None:
        """Add a micro-batch's gradient to this rank's; none, where all layers were dropped."""
        del last
        if loss.requires_grad:
            self.accelerator.backward(loss)

    def finish(self) -> None:
        """Add the gradients of all ranks up."""
        if self.world > 1:
            add_up([p for p in self.model.parameters() if p.requires_grad])


def add_up(parameters: Sequence[Tensor]) -> None:
    """Replace each parameter's gradient by the sum over all ranks.

    A parameter that took part on some rank gets a gradient on every rank; one that took part
    nowhere keeps none, so that the optimiser leaves it alone.

    Args:
        parameters: The same ones, in the same order, on every rank.
    """
    if not parameters:
        return
    used = torch.tensor([p.grad is not None for p in parameters], dtype=torch.uint8)
    used = used.to(parameters[0].device)
    distributed.all_reduce(used, op=distributed.ReduceOp.MAX)
    taking_part = [p for p, flag in zip(parameters, used.tolist(), strict=True) if flag]
    bucket: list[Tensor] = []
    size = 0
    for parameter in taking_part:
        gradient = parameter.grad
        if gradient is None:
            gradient = parameter.grad = torch.zeros_like(parameter)
        if bucket and (
            size + nbytes(gradient) > BUCKET_BYTES
            or gradient.dtype != bucket[0].dtype
            or gradient.device != bucket[0].device
        ):
            reduce(bucket)
            bucket, size = [], 0
        bucket.append(gradient)
        size += nbytes(gradient)
    if bucket:
        reduce(bucket)


def nbytes(tensor: Tensor) -> int:
    """Return the size of a tensor."""
    return int(tensor.numel() * tensor.element_size())


def reduce(bucket: Sequence[Tensor]) -> None:
    """Add some gradients up over all ranks, in place and in one message."""
    if len(bucket) == 1 and bucket[0].is_contiguous():
        distributed.all_reduce(bucket[0])
        return
    flat = torch.cat([gradient.reshape(-1) for gradient in bucket])
    distributed.all_reduce(flat)
    start = 0
    for gradient in bucket:
        part = flat[start : start + gradient.numel()]
        gradient.copy_(part.view_as(gradient))
        start += gradient.numel()


class Shards:
    """Ranks hold parts of the model and meet in every pass; their library averages the gradients.

    Args:
        accelerator: Runs the backward pass, and holds the exchange back until the last one.
        model: As sharded.
        world: Number of ranks.
    """

    together = True

    def __init__(self, accelerator: Any, model: nn.Module, world: int) -> None:
        self.accelerator, self.model, self.factor = accelerator, model, float(world)

    def forward(self) -> AbstractContextManager[Any]:
        """Return the context that the forward and backward passes of a step run in."""
        return contextlib.nullcontext()

    def backward(self, loss: Tensor, *, last: bool) -> None:
        """Add a micro-batch's gradient, and exchange it with the last one."""
        with contextlib.nullcontext() if last else self.accelerator.no_sync(self.model):
            self.accelerator.backward(loss)

    def finish(self) -> None:
        """Nothing is left to do."""
