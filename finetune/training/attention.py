"""Attention within each sequence of a batch that holds real tokens alone, laid end to end.

Two registries of transformers make room for it without a touch to any model's code: a mask
function that hands Segments down to the layers in the place of a mask, and an attention function
that reads them. Batches without padding, and whatever is no Segments, are left to SDPA.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import (
    bidirectional_mask_function,
    causal_mask_function,
    sdpa_mask,
)

from finetune.training.branches import Branches
from finetune.training.segments import PLAIN, Crossed, Segments

if TYPE_CHECKING:
    from torch import Tensor, nn

NAME = "finetune_segments"
"""Under which transformers knows this attention."""


class Switch:
    """Whether masks are to be Segments: transformers calls `mask` without a word of the model."""

    def __init__(self) -> None:
        self.is_on = False
        self.made = 0
        """How many Segments there were."""
        self.longest: int | None = None
        """Tokens of the longest sequence of the layer at work, where that is unpadded."""
        self.shared: list[int] | None = None
        """Tokens that each pair of neighbouring rows begins with; None where nobody looked."""


switch = Switch()


def choose(model: nn.Module, name: str) -> None:
    """Let the models of transformers in a model, which may be one itself, attend in a way."""
    found: list[PreTrainedModel] = []
    for part in model.modules():  # outermost first: what is within one is its own to set
        if isinstance(part, PreTrainedModel) and not any(is_within(part, whole) for whole in found):
            found.append(part)
    for whole in found:
        whole.set_attn_implementation(name)


def is_within(part: nn.Module, whole: nn.Module) -> bool:
    """Tell whether a module is a part of another."""
    return any(part is one for one in whole.modules())


def mask(
    *,
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: int = 0,
    kv_offset: int = 0,
    mask_function: Callable[..., Any] = causal_mask_function,
    attention_mask: Tensor | None = None,
    use_vmap: bool = False,
    **options: Any,
) -> Any:
    """Return Segments of a padded batch where that is switched on, else what SDPA is given."""
    if (
        switch.is_on
        and attention_mask is not None
        and attention_mask.shape == (batch_size, kv_length)
        and batch_size > 1
        and (q_offset, kv_offset) == (0, 0)
        and (q_length == kv_length or mask_function is bidirectional_mask_function)
        and not use_vmap
    ):
        real = attention_mask.bool()
        behind = (real[:, 1:] <= real[:, :-1]).all() & real[:, 0].all()  # padding at the end only
        if may_branch(batch_size, mask_function) and bool(behind):
            switch.made += 1
            return Branches(real, mask_function, switch.shared or ())
        if bool(real.any(1).all() & ~real.all() & (behind | (mask_function in PLAIN))):
            switch.made += 1
            return Segments(real, mask_function)
    return sdpa_mask(
        batch_size=batch_size,
        q_length=q_length,
        kv_length=kv_length,
        q_offset=q_offset,
        kv_offset=kv_offset,
        mask_function=mask_function,
        attention_mask=attention_mask,
        use_vmap=use_vmap,
        **options,
    )


def may_branch(rows: int, pattern: Callable[..., Any]) -> bool:
    """Tell whether rows begin alike two by two, in a layer that doesn't look ahead."""
    shared = switch.shared
    looks_back = pattern is not bidirectional_mask_function
    return shared is not None and any(shared) and len(shared) * 2 == rows and looks_back


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Any,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    position_bias: Tensor | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attend within each sequence.

    Args:
        module: The attention layer.
        query: Shape (1, heads, tokens, width) of real tokens.
        key: Likewise, with as many heads or fewer.
        value: Likewise.
        attention_mask: Segments, or what is Crossed; anything else is SDPA's business.
        dropout: Of attention weights.
        scaling: Of the scores.
        is_causal: For SDPA; Segments know it.
        position_bias: Added to the scores, shape (1, heads, length, length) at least.
        options: For SDPA.

    Returns:
        Shape (1, tokens, heads, width), and no weights.
    """
    crossing = vars(module).get("crossing")
    if crossing is not None and crossing.states is not None:
        if position_bias is not None or options.get("softcap") is not None:
            raise NotImplementedError("scores are scores and nothing else here")
        if crossing.pays(query):
            return crossing.seen(query, attention_mask, dropout, scaling), None
        key, value = crossing.projected(query)
    if isinstance(attention_mask, Crossed):
        if getattr(module, "has_relative_attention_bias", False):
            raise NotImplementedError("positions of two batches are not compared here")
        return across(module, attention_mask, query, key, value, dropout, scaling), None
    if isinstance(attention_mask, Segments):
        if query.shape[0] == 1 and query.shape[2] == attention_mask.tokens == key.shape[2]:
            if options.get("softcap") is not None:
                raise NotImplementedError("scores are not capped here")
            seen = within(
                attention_mask, query[0], key[0], value[0], dropout, scaling, position_bias
            )
            return seen.unsqueeze(0), None
        attention_mask = attention_mask.as_mask()  # the queries were never unpadded
    seen, _ = sdpa_attention_forward(
        module,
        query,
        key,
        value,
        attention_mask,
        dropout=dropout,
        scaling=scaling,
        is_causal=is_causal,
        position_bias=position_bias,
        **options,
    )
    return seen, None


def across(
    module: nn.Module,
    crossed: Crossed,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dropout: float,
    scaling: float | None,
) -> Tensor:
    """Return what the tokens of one batch see in another; the padding is back for that alone."""
    own, other = crossed.own, crossed.other
    if own is not None and other is None and key.shape[0] == 1:  # rows laid end to end, as
        rows = own.mask.shape[0]  # Whisper does when there is one row of queries
        key, value = (part[0].unflatten(1, (rows, -1)).transpose(0, 1) for part in (key, value))
    if own is not None:
        query = own.rectangle(query.transpose(1, 2)).transpose(1, 2)
    if other is not None:
        key, value = (
            other.rectangle(part.transpose(1, 2)).transpose(1, 2) for part in (key, value)
        )
    seen, _ = sdpa_attention_forward(
        module, query, key, value, other.as_mask() if other is not None else None,
        dropout=dropout, scaling=scaling, is_causal=False,
    )  # fmt: skip
    found: Tensor = seen if own is None else own.flat(seen.flatten(2)).unflatten(2, seen.shape[2:])
    return found


def within(
    segments: Segments,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dropout: float,
    scaling: float | None,
    bias: Tensor | None,
) -> Tensor:
    """Return what tokens see, shape (tokens, heads, width), of states (heads, tokens, width)."""
    times = query.shape[0] // key.shape[0]
    if times > 1:
        key, value = key.repeat_interleave(times, 0), value.repeat_interleave(times, 0)
    parts = []
    queries, keys, values = (segments.cut(states) for states in (query, key, value))
    for number, group in enumerate(segments.groups):
        allowed, causal = segments.allowed(number), segments.is_causal
        if bias is not None:
            own = bias[:, :, : group.length, : group.length]
            if causal:
                places = torch.arange(group.length, device=query.device)
                allowed, causal = places[:, None] >= places, False
            allowed = own if allowed is None else own.masked_fill(~allowed, float("-inf"))
        seen = functional.scaled_dot_product_attention(
            queries[number],
            keys[number],
            values[number],
            attn_mask=allowed,
            dropout_p=dropout,
            scale=scaling,
            is_causal=causal,
        )
        parts.append(seen)
    return segments.joined(parts)


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, mask)
