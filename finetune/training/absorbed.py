"""Cross-attention in which few queries go to the encoder's states, instead of all states to them.

Each layer of a decoder makes keys and values of every place that the encoder has: of 1,500 for a
recording in Whisper, for the twenty tokens that were said in it. q·(W h) is (Wᵀ q)·h, and a sum of
W h is W times the sum of h, so that the two matrices can be multiplied with the queries and with
what they saw. That is less wherever all heads' queries together are fewer than the states are wide.
DeepSeek-V2 calls such matrices absorbed (https://arxiv.org/abs/2405.04434, section 2.1.2).

The projections' layers give a placeholder, and `attention` computes from the states. Which layers
these are is `absorbed_search`'s to find.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

from finetune.training import fused_lora
from finetune.training.segments import Crossed, Segments

if TYPE_CHECKING:
    from torch import Tensor

GAIN = 0.75
"""Most multiplications, relative to those of the layer's own way, for which this one is taken:
softmax by itself and smaller products cost time too."""


@dataclass
class Crossing:
    """A module whose keys and values are projections of one tensor that its queries are not of."""

    module: nn.Module
    key: nn.Module
    value: nn.Module
    states: Tensor | None = field(default=None, repr=False)
    """What both were asked to project, shape (rows, places, width), while the module computes."""
    is_open: bool = False
    """Whether the module computes, and not from a cache."""
    is_short: bool = True
    """Whether a placeholder of one place will do, which nobody spends time to copy."""

    def install(self) -> None:
        """Let the two layers give a placeholder while the module computes."""
        for layer in (self.key, self.value):
            vars(layer)["crossing"], vars(layer)["project"] = self, layer.forward
            vars(layer)["forward"] = types.MethodType(postpone, layer)
        vars(self.module)["crossing"] = self

    def remove(self) -> None:
        """Undo `install`."""
        for layer in (self.key, self.value):
            inner = vars(layer).pop("project")
            for name in ("crossing", "forward"):
                del vars(layer)[name]
            if inner.__func__ is not type(layer).forward:
                vars(layer)["forward"] = inner  # of a LoRA layer that adds in place
        del vars(self.module)["crossing"]

    def seen(self, query: Tensor, mask: Any, dropout: float, scaling: float | None) -> Tensor:
        """Return what queries see of the states.

        Args:
            query: Shape (rows, heads, queries, width of a head).
            mask: Broadcast over (rows, heads, queries, places): true where a query may look, or
                what is added to its scores; None lets all see all. Crossed where the queries of
                all rows are one row, without padding.
            dropout: Of attention weights.
            scaling: Of the scores; None is the root of a head's width.

        Returns:
            Shape (rows, queries, heads, width of a head).
        """
        _, heads, _, width = query.shape
        scale = width**-0.5 if scaling is None else scaling
        query = query if scale == 1.0 else query * scale
        keys, key_bias = projection(self.key, heads, width)
        values, value_bias = projection(self.value, heads, width)
        # the same for all places, but a weight that has its gradient
        extra = None if key_bias is None else (query * key_bias).sum(-1, keepdim=True)
        asked = query @ keys
        look = self.each if isinstance(mask, Crossed) else self.together
        found, whole = look(asked, extra, mask, dropout)
        found = found @ values.transpose(1, 2)
        if value_bias is not None:
            found = found + value_bias * (whole if dropout else 1.0)
        return found.transpose(1, 2)

    def together(
        self, asked: Tensor, extra: Tensor | None, mask: Tensor | None, dropout: float
    ) -> tuple[Tensor, Tensor]:
        """Return the states' weighted sums and the sums of weights, of rows of equal length."""
        states = self.states
        assert states is not None
        shape = asked.shape[1:3]
        scores = torch.bmm(asked.flatten(1, 2), states.transpose(1, 2)).unflatten(1, shape)
        if extra is not None:
            scores = scores + extra
        if mask is not None:
            is_boolean = mask.dtype == torch.bool
            scores = scores.masked_fill(~mask, float("-inf")) if is_boolean else scores + mask
        shares = functional.dropout(torch.softmax(scores, -1), dropout).to(states.dtype)
        found = torch.bmm(shares.flatten(1, 2), states).unflatten(1, shape)
        return found, shares.sum(-1, keepdim=True) if dropout else found

    def each(
        self, asked: Tensor, extra: Tensor | None, mask: Crossed, dropout: float
    ) -> tuple[Tensor, Tensor]:
        """Return the same where each row has its own number of queries, and no other."""
        states, own = self.states, mask.own
        assert states is not None
        assert own is not None
        rows = states.unbind(0)
        parts, sums = [], []
        extras = [None] * len(rows) if extra is None else extra[0].split(own.lengths, 1)
        for row, queries, more in zip(
            own.order, asked[0].split(own.lengths, 1), extras, strict=True
        ):
            scores = queries.flatten(0, 1) @ rows[row].t()
            if more is not None:
                scores = scores + more.flatten(0, 1)
            shares = functional.dropout(torch.softmax(scores, -1), dropout).to(states.dtype)
            parts.append((shares @ rows[row]).unflatten(0, queries.shape[:2]))
            if dropout:
                sums.append(shares.sum(-1, keepdim=True).unflatten(0, queries.shape[:2]))
        found = torch.cat(parts, 1)[None]
        return found, torch.cat(sums, 1)[None] if dropout else found

    def pays(self, query: Tensor) -> bool:
        """Tell whether this takes fewer multiplications than keys and values of all places."""
        states = self.states
        assert states is not None
        adapted = (layer for layer in (self.key, self.value) if hasattr(layer, "base_layer"))
        if any(fused_lora.reason_against(layer) for layer in adapted):
            return False  # an adapter that is off by now, or merged
        asked = query.shape[0] * query.shape[1] * query.shape[2] / len(states)  # of a row
        wide = out_features(self.key)
        learns = torch.is_grad_enabled()
        above = learns and bool(states.requires_grad)
        weights = learns and own_weight(self.key).requires_grad
        theirs = wide * (1 + weights + above)  # forward; gradients of the weights, of the states
        return bool(asked * (1 + learns + above) <= GAIN * theirs)

    def projected(self, query: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values of all places after all, shape (rows, heads, places, width)."""
        states, width = self.states, query.shape[-1]
        assert states is not None
        key, value = (
            vars(layer)["project"](states).unflatten(-1, (-1, width)).transpose(1, 2)
            for layer in (self.key, self.value)
        )
        return key, value


def postpone(layer: Any, states: Tensor) -> Tensor:
    """Stand for a projection of an encoder's states, where these will be looked at themselves."""
    crossing: Crossing = vars(layer)["crossing"]
    if not crossing.is_open:
        found: Tensor = vars(layer)["project"](states)
        return found
    crossing.states = states
    places = 1 if crossing.is_short else states.shape[1]
    return states.new_zeros(()).expand(states.shape[0], places, out_features(layer))


def out_features(layer: Any) -> int:
    """Return how wide a layer's output is."""
    return int(layer.out_features)


def own_weight(layer: Any) -> Tensor:
    """Return a layer's own matrix, without an adapter."""
    found: Tensor = getattr(layer, "base_layer", layer).weight
    return found


def projection(layer: Any, heads: int, width: int) -> tuple[Tensor, Tensor | None]:
    """Return a layer's matrix, with its adapter, and its bias, by heads.

    Returns:
        Shapes (heads, width, in) and (heads, 1, width).
    """
    base = getattr(layer, "base_layer", layer)
    matrix = base.weight
    if base is not layer:
        a, b, scale = fused_lora.adapter(layer)
        matrix = torch.add(fused_lora.readable(base, base.weight, a.dtype), b @ a, alpha=scale)
    matrix = matrix.unflatten(0, (-1, width))
    bias = None if base.bias is None else base.bias.unflatten(0, (-1, 1, width))
    times = heads // len(matrix)
    if times > 1:  # heads that share keys and values
        matrix = matrix.repeat_interleave(times, 0)
        bias = None if bias is None else bias.repeat_interleave(times, 0)
    return matrix, bias


def open_to(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Let a module's projections wait, unless a cache wants them or states have no padding."""
    cached = any(value is not None for name, value in kwargs.items() if "past" in name)
    masks = (value for value in (*args, *kwargs.values()) if isinstance(value, (Crossed, Segments)))
    flat = any(getattr(mask, "other", mask) is not None for mask in masks)
    vars(module)["crossing"].is_open = not cached and not flat


def close(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
    """Forget what a module was given."""
    del args, output
    crossing = vars(module)["crossing"]
    crossing.is_open, crossing.states = False, None
