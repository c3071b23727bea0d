"""Where the real tokens of a padded batch are, and which of them attend in one call."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from transformers.masking_utils import bidirectional_mask_function, causal_mask_function

if TYPE_CHECKING:
    from torch import Tensor

ALIKE = 1.25
"""Sequences attend in one call when the longest has at most so many times the shortest's tokens."""
PLAIN = (causal_mask_function, bidirectional_mask_function)
"""Patterns that need no mask: to all before, or to all."""


class Group:
    """Sequences that attend in one call; they are neighbours in the order of the tokens.

    Args:
        start: Their first token.
        lengths: Tokens of each, ascending.
        device: Where masks are put.
    """

    def __init__(self, start: int, lengths: Sequence[int], device: torch.device) -> None:
        self.start, self.end = start, start + sum(lengths)
        self.rows, self.length = len(lengths), lengths[-1]
        self.real: Tensor | None = None
        """Shape (rows, length), true for tokens; None where all sequences are of one length."""
        if lengths[0] < self.length:
            counts = torch.tensor(lengths, device=device)
            self.real = torch.arange(self.length, device=device)[None] < counts[:, None]
            self.places = self.real.flatten().nonzero()[:, 0]

    def cut(self, states: Tensor) -> Tensor:
        """Return (rows, heads, length, width) of (heads, tokens, width)."""
        own = states[:, self.start : self.end]
        if self.real is not None:
            padded = own.new_zeros((own.shape[0], self.rows * self.length, own.shape[2]))
            own = padded.index_copy(1, self.places, own)
        return own.unflatten(1, (self.rows, self.length)).transpose(0, 1)

    def joined(self, states: Tensor) -> Tensor:
        """Return (tokens, heads, width) of (rows, heads, length, width)."""
        own = states.transpose(1, 2).flatten(0, 1)
        return own if self.real is None else own.index_select(0, self.places)


class Segments:
    """Where the real tokens of a padded batch are.

    Args:
        mask: Shape (rows, length), true for real tokens; each row has one at least.
        pattern: Which query may attend to which key, as transformers states it.
    """

    def __init__(self, mask: Tensor, pattern: Callable[..., Any]) -> None:
        self.mask, self.pattern = mask, pattern
        self.is_causal = pattern is causal_mask_function
        lengths = mask.sum(1)
        order = torch.argsort(lengths, stable=True)
        self.order: list[int] = order.tolist()
        """Rows, shortest first."""
        self.lengths: list[int] = lengths[order].tolist()
        rows, length = mask.shape
        place = torch.arange(rows * length, device=mask.device).view(rows, length)[order]
        self.places = place[mask[order]]
        """Of each token in the flattened (rows · length): shortest rows first."""
        self.tokens = int(self.places.shape[0])
        self.groups = groups(self.lengths, mask.device)
        self._flat: dict[int, tuple[Tensor, Tensor]] = {}
        self._allowed: dict[int, Tensor | None] = {}

    @functools.cached_property
    def bounds(self) -> Tensor:
        """Where sequences begin and end, shape (rows + 1,)."""
        ends = torch.tensor([0, *self.lengths], device=self.mask.device)
        return ends.cumsum(0).to(torch.int32)

    def flat(self, value: Any) -> Any:
        """Return the states of real tokens, shape (1, tokens, …), in a value or a tuple of them.

        What has no state for each place of the rectangle stays what it is.
        """
        if isinstance(value, tuple):
            return tuple(self.flat(part) for part in value)
        rows, length = self.mask.shape
        if (
            not isinstance(value, torch.Tensor)
            or value.dim() not in (2, 3)  # four are of heads, by queries, by keys
            or value.shape[1] != length
            or value.shape[0] not in (1, rows)
        ):
            return value
        known = self._flat.get(id(value))
        if known is None or known[0] is not value:
            whole = value.expand(rows, *value.shape[1:])
            known = value, whole.flatten(0, 1).index_select(0, self.places).unsqueeze(0)
            if not value.requires_grad:  # positions, which every layer is given anew
                self._flat[id(value)] = known
        return known[1]

    def rectangle(self, value: Tensor) -> Tensor:
        """Return (rows, length, …) of (1, tokens, …), zero where there is padding."""
        rows, length = self.mask.shape
        empty = value.new_zeros((rows * length, *value.shape[2:]))
        return empty.index_copy(0, self.places, value[0]).unflatten(0, (rows, length))

    def cut(self, states: Tensor) -> list[Tensor]:
        """Return (rows, heads, length, width) of each group, of (heads, tokens, width)."""
        return [group.cut(states) for group in self.groups]

    def joined(self, seen: Sequence[Tensor]) -> Tensor:
        """Return (tokens, heads, width) of what each group saw."""
        pairs = zip(self.groups, seen, strict=True)
        return torch.cat([group.joined(part) for group, part in pairs])

    def allowed(self, number: int) -> Tensor | None:
        """Return who attends to whom in a group, broadcast over (rows, heads, queries, keys).

        None is everybody; where `is_causal`, everybody to those before.
        """
        if number not in self._allowed:
            self._allowed[number] = self._pattern_of(self.groups[number])
        return self._allowed[number]

    def _pattern_of(self, group: Group) -> Tensor | None:
        if self.pattern in PLAIN:
            # those who look back only never see what follows a shorter sequence
            return None if group.real is None or self.is_causal else group.real[:, None, None]
        places = torch.arange(group.length, device=self.mask.device)
        pattern = self.pattern(0, 0, places[:, None], places[None, :])[None, None]
        if group.real is None:
            return pattern
        itself = torch.eye(group.length, dtype=torch.bool, device=pattern.device)
        return pattern & (group.real[:, None, None] | itself)  # padding sees itself: no empty row

    def as_mask(self) -> Tensor:
        """Return the mask of the padded batch, shape (rows, 1, queries or 1, keys)."""
        keys = self.mask[:, None, None, :]
        if self.pattern is bidirectional_mask_function:
            return keys
        places = torch.arange(self.mask.shape[1], device=keys.device)
        return keys & self.pattern(0, 0, places[:, None], places[None, :])


class Crossed:
    """Two batches of the same rows, of which one looks at the other: a decoder at its encoder.

    Args:
        own: Of those who look; None where they kept their padding.
        other: Of those who are looked at; None where they kept it.
    """

    def __init__(self, own: Segments | None, other: Segments | None) -> None:
        self.own, self.other = own, other


def groups(lengths: Sequence[int], device: torch.device) -> list[Group]:
    """Cut sorted lengths into groups that are alike enough to attend in one call."""
    found: list[Group] = []
    first, start = 0, 0
    for number in range(1, len(lengths) + 1):
        if number == len(lengths) or lengths[number] > ALIKE * lengths[first]:
            found.append(Group(start, lengths[first:number], device))
            first, start = number, found[-1].end
    return found
