"""Logits of labelled tokens alone: the loss and the gradient of all of them."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

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

from finetune.tasks import labelled

SMALL = {"vocab_size": 37, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


class Given(nn.Module):
    """A model without a known output layer: its logits are what it is called with."""

    def forward(self, logits: Any) -> Any:
        return SimpleNamespace(logits=logits)


def models() -> dict[str, Any]:
    capped = Gemma2Config(
        **SMALL, intermediate_size=16, num_key_value_heads=1, head_dim=8,
        final_logit_softcapping=0.5, attn_logit_softcapping=None,
    )  # fmt: skip
    scaled = T5Config(vocab_size=37, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    return {
        "tied": GPT2LMHeadModel(GPT2Config(vocab_size=37, n_embd=16, n_layer=1, n_head=2)),
        "capped": Gemma2ForCausalLM(capped),
        "scaled": T5ForConditionalGeneration(scaled),
    }


def test_the_loss_of_a_row_is_the_sum_over_its_labelled_tokens():
    labels = torch.tensor([[1, 2, -100], [-100, -100, 3]])
    sums, counts = labelled.token_losses(Given(), {"logits": torch.zeros(2, 3, 4)}, labels)
    assert sums.tolist() == pytest.approx([2 * math.log(4), math.log(4)])
    assert counts.tolist() == [2, 1]


def test_a_batch_without_a_label_has_a_loss_of_nothing():
    logits = torch.zeros(1, 3, 4, requires_grad=True)
    sums, counts = labelled.token_losses(Given(), {"logits": logits}, torch.full((1, 3), -100))
    assert (sums.tolist(), counts.tolist()) == ([0.0], [0])
    sums.sum().backward()
    assert logits.grad is not None


def test_labels_are_those_of_the_following_token():
    labels = torch.tensor([[-100, 5, 6], [7, -100, 8]])
    assert labelled.following(labels).tolist() == [[5, 6, -100], [-100, 8, -100]]


@pytest.mark.parametrize("kind", ["tied", "capped", "scaled"])
def test_loss_and_gradient_are_those_of_all_logits(kind):
    torch.manual_seed(0)
    model = models()[kind].eval()
    ids = torch.randint(1, 37, (3, 9))
    labels = torch.where(torch.rand(3, 9) < 0.4, torch.randint(1, 37, (3, 9)), -100)
    labels[1] = -100  # a row of nothing
    inputs = {"input_ids": ids}
    if kind == "scaled":
        inputs["decoder_input_ids"] = ids
    logits = model(**inputs).logits
    wanted = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum")
    wanted.backward()
    gradients = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    model.zero_grad()
    sums, counts = labelled.token_losses(model, inputs, labels)
    sums.sum().backward()
    assert counts.tolist() == (labels != -100).sum(1).tolist()
    assert sums[1] == 0
    torch.testing.assert_close(sums.sum(), wanted, rtol=1e-6, atol=0)
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight.grad, gradients[name], rtol=1e-4, atol=1e-6)


def test_the_head_sees_labelled_places_only_and_all_of_them_afterwards():
    model, seen = models()["tied"], []
    model.lm_head.register_forward_hook(lambda _, __, out: seen.append(tuple(out.shape)))
    labels = torch.full((2, 5), -100)
    labels[0, 3] = 4
    labelled.token_losses(model, {"input_ids": torch.ones(2, 5, dtype=torch.long)}, labels)
    model(input_ids=torch.ones(2, 5, dtype=torch.long))
    assert seen == [(1, 37), (2, 5, 37)]
