"""Sequences that begin alike: where their tokens are, and what attention makes of them."""

from __future__ import annotations

import pytest
import torch
from transformers.masking_utils import (
    bidirectional_mask_function,
    causal_mask_function,
    sliding_window_causal_mask_function,
)

from finetune.training import attention
from finetune.training.branches import Branches, beginnings
from tests.training.test_attention import mask_of, padded

PATTERNS = {"before": causal_mask_function, "window": sliding_window_causal_mask_function(3)}
LENGTHS, SHARED = (7, 5, 9, 9, 3, 30), [4, 9, 0]


def states_of(mask, shared, width=8):
    """Return states (heads, rows · length, width), alike where rows begin alike."""
    torch.manual_seed(0)
    found = torch.randn(4, *mask.shape, width)
    for pair, count in enumerate(shared):
        found[:, 2 * pair + 1, :count] = found[:, 2 * pair, :count]
    return found.flatten(1, 2).requires_grad_()


def test_what_two_rows_begin_with_is_there_once_and_comes_back_twice():
    mask = mask_of(*LENGTHS)
    own = Branches(mask, causal_mask_function, SHARED)
    states = states_of(mask, SHARED)[0].detach().unflatten(0, mask.shape)
    flat = own.flat(states)
    assert flat.shape == (1, sum(LENGTHS) - sum(SHARED), 8)
    assert bool((own.rectangle(flat) == states * mask[..., None]).all())


@pytest.mark.parametrize("pattern", PATTERNS)
def test_tokens_see_what_they_see_in_whole_rows_and_so_do_gradients(pattern):
    mask = mask_of(*LENGTHS)
    own = Branches(mask, PATTERNS[pattern], SHARED)
    states = [states_of(mask, SHARED) for _ in range(3)]
    wanted = padded(states, mask, PATTERNS[pattern])
    weights = torch.randn_like(wanted)
    (wanted * weights).sum().backward()
    flat = [part.detach().index_select(1, own.places).requires_grad_() for part in states]
    found = attention.within(own, *flat, dropout=0.0, scaling=None, bias=None)
    back = own.rectangle(found[None])[mask]
    torch.testing.assert_close(back, wanted, rtol=1e-5, atol=1e-6)
    (back * weights).sum().backward()
    for one, other in zip(flat, states, strict=True):
        summed = other.grad.unflatten(1, mask.shape).clone()
        for pair, count in enumerate(SHARED):
            summed[:, 2 * pair, :count] += summed[:, 2 * pair + 1, :count]
        whole = summed.flatten(1, 2).index_select(1, own.places)
        torch.testing.assert_close(one.grad, whole, rtol=1e-5, atol=1e-5)


def test_rows_begin_alike_as_far_as_both_have_tokens():
    ids = torch.tensor([[1, 2, 3, 0, 0], [1, 2, 3, 0, 4], [5, 1, 1, 1, 1], [6, 1, 1, 1, 1]])
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1] * 5, [1] * 5])
    assert beginnings(ids, mask) == [3, 0]


def made(mask, pattern, monkeypatch, shared):
    """Return what layers are given in the place of a mask."""
    monkeypatch.setattr(attention.switch, "is_on", True)
    monkeypatch.setattr(attention.switch, "shared", shared)
    rows, length = mask.shape
    return attention.mask(
        batch_size=rows,
        q_length=length,
        kv_length=length,
        mask_function=pattern,
        attention_mask=mask,
    )


def test_pairs_branch_with_and_without_padding(monkeypatch):
    for mask in (mask_of(5, 5), mask_of(5, 3)):
        assert type(made(mask, causal_mask_function, monkeypatch, [2])) is Branches


def test_nothing_branches_that_looks_ahead_or_is_no_pair_or_begins_with_padding(monkeypatch):
    for pattern, shared, mask in (
        (bidirectional_mask_function, [2], mask_of(5, 3)),
        (causal_mask_function, [0], mask_of(5, 3)),
        (causal_mask_function, [2], mask_of(5, 3, 4)),
        (causal_mask_function, None, mask_of(5, 3)),
        (causal_mask_function, [2], mask_of(5, 3).flip(1)),
    ):
        assert type(made(mask, pattern, monkeypatch, shared)) is not Branches
