"""Losses over the whole global batch: embed everything, differentiate once, go back in pieces.

GradCache (Gao et al. 2021): the loss is taken over all embeddings of all micro-batches and ranks;
its gradient with respect to each embedding then drives an ordinary backward pass of its
micro-batch. The gradient is that of one forward pass over the global batch, to rounding. A rank
that has one micro-batch alone embeds it once and goes back through that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

    from finetune.tasks.base import Batch, CoupledTask


class CoupledStep:
    """The loss of one global batch and what each micro-batch owes to it.

    Args:
        task: Knows the embeddings and the loss.
        model: Called for embeddings; wrapped for data parallelism when it is.
        batches: This rank's micro-batches.
        fillers: Which of them carry no loss.
    """

    total: Tensor
    """The loss summed over the rows of all ranks."""

    def __init__(
        self,
        task: CoupledTask,
        model: nn.Module,
        batches: Sequence[Batch],
        fillers: Sequence[bool],
    ) -> None:
        self.task, self.model, self.batches = task, model, batches
        self.kept = [number for number, filler in enumerate(fillers) if not filler]
        self.random: list[Any] = []
        self.own: list[list[Tensor]] = []
        self.whole: tuple[Tensor, ...] = ()
        """Embeddings with their graph, where there is one micro-batch."""

    def embed(self) -> None:
        """Embed this rank's rows, without a gradient unless they are one micro-batch."""
        import torch

        if len(self.batches) == 1:
            self.whole = self.task.embed(self.model, self.batches[0])
            self.own.append([part.detach() for part in self.whole])
            return
        for batch in self.batches:
            self.random.append(random_state())
            with torch.no_grad():
                self.own.append([part.detach() for part in self.task.embed(self.model, batch)])

    def differentiate(self, inner: nn.Module) -> None:
        """Take the loss over the rows of all ranks, and its gradient by each embedding.

        Args:
            inner: The model itself, for parameters of the loss.
        """
        import torch

        own, kept = self.own, self.kept
        parts = [
            torch.cat([own[number][part] for number in kept])
            if kept
            else own[0][part].new_zeros((0, own[0][part].shape[1]))
            for part in range(len(own[0]))
        ]
        group = (
            torch.cat([self.task.groups(self.batches[number]) for number in kept])
            if kept
            else torch.zeros(0, dtype=torch.long, device=own[0][0].device)
        )
        everything = [gather_rows(part) for part in parts]
        leaves = tuple(rows.requires_grad_(True) for rows, _ in everything)
        first = everything[0][1]
        self.total, _ = self.task.coupled_loss(inner, leaves, gather_rows(group)[0])
        shared = [parameter for parameter in inner.parameters() if parameter.requires_grad]
        gradients = torch.autograd.grad(self.total, [*leaves, *shared], allow_unused=True)
        of_rows = [
            (torch.zeros_like(leaf) if gradient is None else gradient)[
                first : first + len(parts[0])
            ]
            for leaf, gradient in zip(leaves, gradients, strict=False)
        ]
        self.owed: list[list[Tensor] | None] = [None] * len(self.batches)
        place = 0
        for number in kept:
            rows = len(own[number][0])
            self.owed[number] = [gradient[place : place + rows] for gradient in of_rows]
            place += rows
        self.of_parameters = [
            (parameter, gradient)
            for parameter, gradient in zip(shared, gradients[len(leaves) :], strict=True)
            if gradient is not None
        ]

    def surrogate(
        self, number: int, batch: Batch, *, factor: float, world: int, last: bool
    ) -> Tensor:
        """Return a scalar whose gradient is this micro-batch's share of the loss's.

        Args:
            number: Which micro-batch.
            batch: The same batch again.
            factor: What each rank's share is multiplied by before ranks come together.
            world: Number of ranks, each of which knows the whole gradient of the loss's own
                parameters.
            last: Whether to add the gradient of the loss's own parameters.
        """
        embeddings, self.whole = self.whole, ()
        if not embeddings:
            restore(self.random[number])
            embeddings = self.task.embed(self.model, batch)
        owed = self.owed[number]
        total = sum(
            (part.to(at_least_single(part)) * gradient).sum() * (factor if owed is not None else 0)
            for part, gradient in zip(embeddings, owed or embeddings, strict=True)
        )
        if last:
            total = total + sum(
                (parameter * gradient).sum() * (factor / world)
                for parameter, gradient in self.of_parameters
            )
        assert not isinstance(total, (int, float))
        return total


def at_least_single(part: Tensor) -> Any:
    """Return the type to add up in: that of the embeddings, but no half precision."""
    import torch

    return torch.promote_types(part.dtype, torch.float32)


def random_state() -> Any:
    """Return the state of every generator: dropout draws on torch's, libraries on any."""
    import random

    import numpy as np
    import torch

    cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
    return torch.get_rng_state(), cuda, random.getstate(), np.random.get_state()


def restore(state: Any) -> None:
    """Put the generators back, so that a second forward pass drops the same units."""
    import random

    import numpy as np
    import torch

    random.setstate(state[2])
    np.random.set_state(state[3])
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state(state[1])


def gather_rows(rows: Tensor) -> tuple[Tensor, int]:
    """Return the rows of all ranks, shape (all rows, …), and where this rank's begin."""
    import torch
    from torch import distributed

    if not (
        distributed.is_available()
        and distributed.is_initialized()
        and distributed.get_world_size() > 1
    ):
        return rows.clone(), 0
    world, rank = distributed.get_world_size(), distributed.get_rank()
    sizes = [torch.zeros(1, dtype=torch.long, device=rows.device) for _ in range(world)]
    distributed.all_gather(sizes, torch.tensor([len(rows)], device=rows.device))
    counts = [int(size) for size in sizes]
    padded = rows.new_zeros((max(counts), *rows.shape[1:]))
    padded[: len(rows)] = rows
    parts = [torch.zeros_like(padded) for _ in range(world)]
    distributed.all_gather(parts, padded)
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)]), sum(
        counts[:rank]
    )
