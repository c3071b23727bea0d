"""Attention within each sequence of a batch without padding."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional
from transformers.masking_utils import (
    bidirectional_mask_function,
    causal_mask_function,
    sliding_window_causal_mask_function,
)

from finetune.training import attention
from finetune.training.segments import Segments

PATTERNS = {
    "all": bidirectional_mask_function,
    "before": causal_mask_function,
    "window": sliding_window_causal_mask_function(3),
}


def mask_of(*lengths, width=None):
    width = width or max(lengths)
    return torch.arange(width)[None] < torch.tensor(lengths)[:, None]


def padded(states, mask, pattern, bias=None):
    """Attend as a padded batch does, shape (heads, rows · length, width) in and out."""
    rows, length = mask.shape
    q, k, v = (part.unflatten(1, (rows, length)).transpose(0, 1) for part in states)
    places = torch.arange(length)
    allowed = mask[:, None, None] & pattern(0, 0, places[:, None], places)
    if bias is not None:
        allowed = bias.masked_fill(~allowed, float("-inf"))
    seen = functional.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
    return seen.transpose(1, 2)[mask]


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("lengths", [(3, 9, 9, 4, 1), (5, 6, 5), (7, 7, 2)])
def test_tokens_see_what_they_see_in_the_padded_batch(pattern, lengths):
    torch.manual_seed(0)
    mask = mask_of(*lengths)
    own = Segments(mask, PATTERNS[pattern])
    states = [torch.randn(4, mask.numel(), 8) for _ in range(3)]
    wanted = padded(states, mask, PATTERNS[pattern])
    flat = [part.index_select(1, own.places) for part in states]
    found = attention.within(own, *flat, dropout=0.0, scaling=None, bias=None)
    back = own.rectangle(found[None])[mask]
    torch.testing.assert_close(back, wanted, rtol=1e-5, atol=1e-6)


def test_position_biases_are_those_of_each_sequence():
    torch.manual_seed(0)
    mask = mask_of(3, 8, 7)
    bias = torch.randn(1, 4, 8, 8)
    states = [torch.randn(4, mask.numel(), 8) for _ in range(3)]
    for pattern in PATTERNS.values():
        own = Segments(mask, pattern)
        wanted = padded(states, mask, pattern, bias)
        flat = [part.index_select(1, own.places) for part in states]
        found = attention.within(own, *flat, dropout=0.0, scaling=None, bias=bias)
        back = own.rectangle(found[None])[mask]
        torch.testing.assert_close(back, wanted, rtol=1e-5, atol=1e-6)


def test_fewer_key_heads_are_shared():
    torch.manual_seed(0)
    own = Segments(mask_of(3, 4), causal_mask_function)
    query, key, value = torch.randn(4, 7, 8), torch.randn(2, 7, 8), torch.randn(2, 7, 8)
    shared = attention.within(own, query, key, value, 0.0, None, None)
    spread = [part.repeat_interleave(2, 0) for part in (key, value)]
    assert bool((shared == attention.within(own, query, *spread, 0.0, None, None)).all())


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_changed_sequence_changes_no_bit_of_another(pattern):
    torch.manual_seed(0)
    mask = mask_of(5, 6, 5, 9)
    own = Segments(mask, PATTERNS[pattern])
    query, key, value = (torch.randn(2, own.tokens, 4) for _ in range(3))
    before = own.rectangle(attention.within(own, query, key, value, 0.0, None, None)[None])
    row = own.rectangle(torch.ones(1, own.tokens)).cumsum(0)[:, 0] >= 0  # all rows are there
    assert bool(row.all())
    second = (own.places // mask.shape[1]) == 1
    for part in (query, key, value):
        part[:, second] += 1
    after = own.rectangle(attention.within(own, query, key, value, 0.0, None, None)[None])
    others = [0, 2, 3]
    assert bool((before[others] == after[others]).all())
    assert not bool((before[1] == after[1]).all())


def arguments(mask, **more):
    rows, length = mask.shape
    return {
        "batch_size": rows, "q_length": length, "kv_length": length, "attention_mask": mask,
        "mask_function": causal_mask_function, **more,
    }  # fmt: skip


def test_there_are_segments_only_where_that_is_switched_on_and_there_is_padding(monkeypatch):
    mask = mask_of(2, 4)
    assert not isinstance(attention.mask(**arguments(mask)), Segments)
    monkeypatch.setattr(attention.switch, "is_on", True)
    assert isinstance(attention.mask(**arguments(mask)), Segments)
    left = mask.flip(1)
    assert isinstance(attention.mask(**arguments(left)), Segments)
    others = (
        arguments(mask_of(4, 4)),
        arguments(mask_of(2, width=4)),
        arguments(mask, q_offset=2),
        arguments(mask, q_length=1),
        arguments(mask, use_vmap=True),
        arguments(left, mask_function=PATTERNS["window"]),
        arguments(torch.tensor([[1, 1], [0, 0]], dtype=torch.bool)),
        {**arguments(mask), "attention_mask": None},
    )
    for other in others:
        assert not isinstance(attention.mask(**other), Segments)


def test_queries_that_kept_their_padding_attend_under_the_plain_mask():
    torch.manual_seed(0)
    mask = mask_of(2, 4)
    states = [torch.randn(2, 2, 4, 8) for _ in range(3)]
    for pattern in (bidirectional_mask_function, causal_mask_function):
        own = Segments(mask, pattern)
        found, _ = attention.attention(nn.Module(), *states, own)
        flat = [part.transpose(0, 1).flatten(1, 2) for part in states]
        torch.testing.assert_close(found[mask], padded(flat, mask, pattern))
