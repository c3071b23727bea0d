"""Cross-entropy in pieces: losses and gradients of the whole, without its logits."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    T5Config,
    T5ForConditionalGeneration,
)

from finetune.tasks import chunked, labelled

WORDS = 37


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(chunked, "WORTH", 1)
    monkeypatch.setattr(chunked, "PIECE", 4 * WORDS)


def models(kind):
    torch.manual_seed(0)
    if kind == "tied":
        return GPT2LMHeadModel(GPT2Config(vocab_size=WORDS, n_embd=16, n_layer=1, n_head=2))
    if kind == "scaled":
        config = T5Config(vocab_size=WORDS, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
        return T5ForConditionalGeneration(config)
    config = Gemma2Config(
        vocab_size=WORDS, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, num_key_value_heads=1, head_dim=8,
        final_logit_softcapping=0.05, attn_logit_softcapping=None,
    )  # fmt: skip
    return Gemma2ForCausalLM(config)


def batch(kind):
    torch.manual_seed(1)
    ids = torch.randint(1, WORDS, (3, 9))
    labels = torch.where(torch.rand(3, 9) < 0.5, torch.randint(1, WORDS, (3, 9)), -100)
    return {"input_ids": ids, **({"decoder_input_ids": ids} if kind == "scaled" else {})}, labels


def whole(model, inputs, labels):
    model.zero_grad()
    logits = model(**inputs).logits.flatten(0, 1)
    loss = functional.cross_entropy(logits, labels.flatten(), reduction="sum")
    loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in trained(model)}


def trained(model):
    return [(name, p) for name, p in model.named_parameters() if p.requires_grad]


def in_pieces(model, inputs, labels):
    model.zero_grad()
    sums, _ = labelled.token_losses(model, inputs, labels)
    sums.sum().backward()
    return sums.sum().detach(), {name: p.grad for name, p in trained(model)}


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("kind", ["tied", "scaled", "capped"])
def test_losses_and_gradients_are_those_of_all_logits_at_once(kind, frozen):
    model = models(kind).eval()
    if frozen:  # as under an adapter; what is tied to the head is frozen with it
        model.get_output_embeddings().weight.requires_grad_(False)
    inputs, labels = batch(kind)
    wanted, gradients = whole(model, inputs, labels)
    found, others = in_pieces(model, inputs, labels)
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=0)
    for name, gradient in gradients.items():
        torch.testing.assert_close(others[name], gradient, rtol=1e-4, atol=1e-6)


def test_a_bias_has_its_gradient_and_rows_weigh_as_they_are_weighed():
    torch.manual_seed(0)
    head, states = nn.Linear(8, WORDS), torch.randn(11, 8, requires_grad=True)
    labels, weights = torch.randint(0, WORDS, (11,)), torch.rand(11)
    inputs = [states, head.weight, head.bias]
    plain = functional.cross_entropy(head(states), labels, reduction="none")
    wanted = torch.autograd.grad((plain * weights).sum(), inputs)
    found = chunked.losses(states, head, labels)
    torch.testing.assert_close(found, plain)
    for one, other in zip(
        torch.autograd.grad((found * weights).sum(), inputs), wanted, strict=True
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("learns", [False, True])
def test_no_more_logits_are_there_at_once_than_a_piece_has(monkeypatch, learns):
    sizes = []
    linear = functional.linear

    def noted(*args):
        sizes.append(linear(*args).numel())
        return linear(*args)

    head, states = (
        nn.Linear(8, WORDS).requires_grad_(learns),
        torch.randn(11, 8, requires_grad=True),
    )
    monkeypatch.setattr(functional, "linear", noted)
    chunked.losses(states, head, torch.zeros(11, dtype=torch.long)).sum().backward()
    assert max(sizes) <= chunked.PIECE
    assert len(sizes) == (6 if learns else 3)


@pytest.mark.parametrize(("kind", "may"), [("tied", True), ("scaled", True), ("capped", False)])
def test_logits_that_are_bent_afterwards_are_never_taken_in_pieces(kind, may):
    model = models(kind)
    inputs, _ = batch(kind)
    assert chunked.is_for(model, model.get_output_embeddings(), inputs, 20) == may
    assert model.training


def test_few_logits_and_layers_that_are_more_than_linear_are_left_alone(monkeypatch):
    class Wrapped(nn.Linear):
        pass

    model = models("tied")
    inputs, _ = batch("tied")
    assert not chunked.is_for(model, Wrapped(16, WORDS), inputs, 20)
    assert not chunked.is_for(model, None, inputs, 20)
    monkeypatch.setattr(chunked, "WORTH", 21 * WORDS)
    assert not chunked.is_for(model, model.get_output_embeddings(), inputs, 20)


def test_mixed_precision_computes_in_its_own_type():
    head, states = nn.Linear(8, WORDS, bias=False), torch.randn(5, 8, requires_grad=True)
    labels = torch.arange(5)
    with torch.autocast("cpu", torch.bfloat16):
        wanted = functional.cross_entropy(head(states).float(), labels, reduction="none")
        found = chunked.losses(states, head, labels)
    torch.testing.assert_close(found, wanted, rtol=1e-2, atol=1e-2)
    found.sum().backward()
    assert states.grad.dtype == head.weight.grad.dtype == torch.float32
