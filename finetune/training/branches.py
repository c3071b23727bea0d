"""Sequences that begin alike, two by two: what both begin with passes the layers once.

A decoder computes the same of the same tokens in the same places, whatever follows them. Of a pair
of rows the second reads the states of what both begin with from the first: `Branches` are Segments
from whose tokens those copies are gone. For attention each row is whole again, so that any pattern
of a decoder will do; a model that passes information in another way is told by `unpadded`, which
compares before anything is trained.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from finetune.training.segments import Segments

if TYPE_CHECKING:
    from torch import Tensor


class Branches(Segments):
    """Where the tokens of a padded batch are, those that two neighbours begin with counted once.

    Args:
        mask: Shape (rows, length), true for real tokens, which begin each row.
        pattern: Which query may attend to which key; none looks ahead.
        shared: Tokens that each pair of neighbours begins with.
    """

    def __init__(self, mask: Tensor, pattern: Callable[..., Any], shared: Sequence[int]) -> None:
        super().__init__(mask, pattern)
        rows, length = mask.shape
        device = mask.device
        counts = torch.tensor(shared, device=device)
        copied = torch.zeros_like(mask)
        copied[1::2] = torch.arange(length, device=device)[None] < counts[:, None]
        order = torch.argsort(mask.sum(1), stable=True)
        place = torch.arange(rows * length, device=device).view(rows, length)
        own = (mask & ~copied)[order]
        self.places = place[order][own]
        self.tokens = int(self.places.shape[0])
        number = torch.zeros(rows * length, dtype=torch.long, device=device)
        number[self.places] = torch.arange(self.tokens, device=device)
        number = number.view(rows, length)
        number[1::2] = number[1::2].where(~copied[1::2], number[0::2])
        self.real = place[mask]
        """Of every real token, copies too, in the flattened rectangle."""
        self.number = number[mask]
        """Which of the tokens it is."""
        self._plan(number[order], own, copied[order])

    def _plan(self, number: Tensor, own: Tensor, copied: Tensor) -> None:
        """Note where attention reads each token, rows in the order of their lengths."""
        reads, kept, again, start, row = [], [], [], 0, 0
        for group in self.groups:
            part = slice(row, row + group.rows), slice(None, group.length)
            size = group.rows * group.length
            reads.append(number[part].flatten())
            kept.append(own[part].flatten().nonzero()[:, 0] + start)
            again.append(copied[part].flatten().nonzero()[:, 0] + start)
            start, row = start + size, row + group.rows
        self.read, self.kept, self.again = (torch.cat(one) for one in (reads, kept, again))
        self.sizes = [group.rows * group.length for group in self.groups]

    def rectangle(self, value: Tensor) -> Tensor:
        """Return (rows, length, …) of (1, tokens, …), copies back, zero where there is padding."""
        rows, length = self.mask.shape
        empty = value.new_zeros((rows * length, *value.shape[2:]))
        found = value[0].index_select(0, self.number)
        return empty.index_copy(0, self.real, found).unflatten(0, (rows, length))

    def cut(self, states: Tensor) -> list[Tensor]:
        """Return (rows, heads, length, width) of each group, of (heads, tokens, width)."""
        whole: Tensor = _Read.apply(states.transpose(0, 1), self.read, self.kept, self.again)
        return [
            part.unflatten(0, (group.rows, group.length)).transpose(1, 2)
            for group, part in zip(self.groups, whole.split(self.sizes), strict=True)
        ]

    def joined(self, seen: Sequence[Tensor]) -> Tensor:
        """Return (tokens, heads, width) of what each group saw."""
        return torch.cat([part.transpose(1, 2).flatten(0, 1) for part in seen]).index_select(
            0, self.kept
        )


class _Read(torch.autograd.Function):
    """Tokens to the places that read them; the gradient gathers, which adding in place does not."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, read: Tensor, kept: Tensor, again: Tensor) -> Tensor:
        """Return (places, heads, width) of (tokens, heads, width)."""
        ctx.save_for_backward(read, kept, again)
        return states.index_select(0, read)

    @staticmethod
    def backward(ctx: Any, given: Tensor) -> Any:
        """Return the gradient by the tokens: of their own place, and of where they are copied."""
        read, kept, again = ctx.saved_tensors
        own = given.index_select(0, kept)
        whose = read.index_select(0, again)
        both = own.index_select(0, whose) + given.index_select(0, again)
        return own.index_copy(0, whose, both), None, None, None


def beginnings(ids: Tensor, mask: Tensor) -> list[int]:
    """Return with how many tokens each pair of neighbouring rows begins alike."""
    alike = (ids[0::2] == ids[1::2]) & mask[0::2].bool() & mask[1::2].bool()
    found: list[int] = alike.long().cumprod(1).sum(1).tolist()
    return found
