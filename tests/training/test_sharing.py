"""Shared prompts: the log-probabilities and gradients of two whole sequences, for decoders."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import pytest
import torch
import transformers as hf
from torch import nn

from finetune.tasks.preference import Preference
from finetune.training import attention, sharing, unpadded
from tests.training.test_unpadded import model_of

DECODERS = ["llama", "qwen", "mistral", "gemma", "gpt2", "neox"]
PAIRS = [(9, 5, 8), (3, 2, 9), (14, 1, 6), (6, 7, 7), (0, 4, 5)]
"""Tokens of what was asked, of the chosen answer, and of the rejected one."""


def features_of(asked, chosen, rejected, seed=0):
    torch.manual_seed(seed)
    begin = torch.randint(4, 40, (asked,)).tolist()
    answers = [[40 + which, *torch.randint(4, 40, (size - 1,)).tolist()]
               for which, size in enumerate((chosen, rejected))]  # fmt: skip
    ids = [[1, *begin, *answer] for answer in answers]
    labels = [[-100] * (asked + 1) + answer for answer in answers]
    return {
        "input_ids": ids[0] + ids[1],
        "labels": labels[0] + labels[1],
        "chosen_tokens": len(ids[0]),
        "length": max(map(len, ids)),
        "reference": [-20.0 - seed, -22.0],
    }


FEATURES = [features_of(*sizes, seed=n) for n, sizes in enumerate(PAIRS)]


class Rows:
    """Pairs of given lengths."""

    def __init__(self, features=FEATURES):
        self.features = features
        self.lengths = [item["length"] for item in features]

    def __len__(self):
        return len(self.features)

    def fetch(self, rows):
        return [self.features[row] for row in rows]


def task_of(**options):
    task = Preference(**options)
    task.processor = SimpleNamespace(pad_token_id=0)
    return task


def prepare(model, task=None, rows=None):
    task, rows = task or task_of(), rows or Rows()
    assert unpadded.prepare(task, model, rows, contextlib.nullcontext) is None
    return sharing.prepare(task, model, rows, contextlib.nullcontext)


def computed(model, task, batch):
    """Return log-probabilities, and the gradient of the loss."""
    model.zero_grad()
    said = task.say(model, batch)
    task.loss(model, batch)[0].backward()
    return said.detach(), {
        n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None
    }


@pytest.mark.parametrize("name", DECODERS)
def test_log_probabilities_and_gradients_are_those_of_two_whole_sequences(name):
    task, model = task_of(), model_of(name)
    batch = task.collate(FEATURES)
    wanted, gradients = computed(model, task, batch)
    assert prepare(model) is None
    beside, _ = computed(model, task, batch)
    assert bool((beside == wanted).all()), "nothing changes outside"
    with unpadded.layers():
        found, others = computed(model, task, batch)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=0)
    largest = max(float(gradient.norm()) for gradient in gradients.values())
    assert others.keys() == gradients.keys()
    for key, gradient in gradients.items():
        assert float((others[key] - gradient).norm()) <= 1e-5 * largest, key
    assert attention.switch.shared is None


def layers_see(model, batch, task):
    """Return how many tokens the layers of a model compute."""
    rows = []
    layer = unpadded.stacks(model)[0][0]
    linear = next(part for part in layer.modules() if isinstance(part, nn.Linear))
    hook = linear.register_forward_hook(lambda _, args, __: rows.append(tuple(args[0].shape[:2])))
    with unpadded.layers(), torch.no_grad():
        task.say(model, batch)
    hook.remove()
    return rows


def test_layers_see_what_was_asked_once():
    task, model = task_of(), model_of("llama")
    batch = task.collate(FEATURES)
    assert prepare(model) is None
    assert layers_see(model, batch, task) == [(1, sum(1 + a + c + r for a, c, r in PAIRS))]


@pytest.mark.parametrize("name", ["llama", "mistral", "gpt2"])
def test_another_answer_changes_no_bit_of_its_sibling(name):
    task, model = task_of(), model_of(name)
    batch = task.collate(FEATURES)
    assert prepare(model) is None
    with unpadded.layers(), torch.no_grad():
        before = task.say(model, batch)
        batch["input_ids"][1, 12:15] = 7  # of the first pair's rejected answer
        after = task.say(model, batch)
    assert before[0, 1] != after[0, 1]
    assert before[0, 0] == after[0, 0]
    assert bool((before[1:] == after[1:]).all())


def test_what_was_asked_is_seen_by_both_answers():
    task, model = task_of(), model_of("llama")
    batch = task.collate(FEATURES)
    assert prepare(model) is None
    with unpadded.layers(), torch.no_grad():
        before = task.say(model, batch)
        batch["input_ids"][:2, 3] = 7
        after = task.say(model, batch)
    assert bool((before[0] != after[0]).all())
    assert bool((before[1:] == after[1:]).all())


def test_activations_can_be_computed_again():
    task, model = task_of(), model_of("llama")
    batch = task.collate(FEATURES)
    _, gradients = computed(model, task, batch)
    assert prepare(model) is None
    model.gradient_checkpointing_enable({"use_reentrant": False})
    model.train()
    with unpadded.layers():
        _, others = computed(model, task, batch)
    for key, gradient in gradients.items():
        torch.testing.assert_close(others[key], gradient, rtol=1e-4, atol=1e-5)


def test_it_can_be_switched_off_and_says_so():
    model = model_of("llama")
    assert prepare(model, task_of(share_prompt=False)) == "task.share_prompt is false"
    task = task_of()
    assert layers_see(model, task.collate(FEATURES), task) == [
        (1, sum(2 * (1 + a) + c + r for a, c, r in PAIRS))
    ]


def test_pairs_that_begin_otherwise_are_told_apart():
    features = [features_of(*sizes, seed=n) for n, sizes in enumerate(PAIRS)]
    for item in features:
        item["input_ids"][item["chosen_tokens"]] = 2
    assert "begin alike" in prepare(model_of("llama"), rows=Rows(features))


def test_a_model_that_looks_ahead_keeps_two_copies(monkeypatch):
    model = model_of("llama")
    attend = attention.within

    def ahead(segments, *args, **kwargs):
        segments.is_causal = False
        return attend(segments, *args, **kwargs)

    assert unpadded.prepare(task_of(), model, Rows(), contextlib.nullcontext) is None
    monkeypatch.setattr(attention, "within", ahead)
    reason = sharing.prepare(task_of(), model, Rows(), contextlib.nullcontext)
    assert "states are" in reason
    assert not model._forward_pre_hooks


def test_other_gradients_are_a_reason_too(monkeypatch):
    from finetune.training.branches import _Read

    backward = _Read.backward
    monkeypatch.setattr(
        _Read, "backward", staticmethod(lambda ctx, given: backward(ctx, given * 1.1))
    )
    reason = prepare(model_of("llama"))
    assert "a gradient is" in reason


def test_a_recurrent_model_is_not_for_it():
    config = hf.MambaConfig(vocab_size=50, hidden_size=32, num_hidden_layers=1, state_size=4)
    model = hf.MambaForCausalLM(config).eval()
    assert unpadded.prepare(task_of(), model, Rows(), contextlib.nullcontext) is not None
