"""GradCache: the gradient of one forward pass over the global batch, in pieces."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from finetune.tasks.base import CoupledTask
from finetune.training.coupled import CoupledStep, gather_rows, random_state, restore


class Towers(nn.Module):
    """Two linear towers with dropout and a learnt temperature."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(5, 4), nn.Linear(3, 4)
        self.drop = nn.Dropout(dropout)
        self.temperature = nn.Parameter(torch.tensor(1.3))

    def forward(self, a: Any, b: Any) -> Any:
        return self.drop(self.a(a)).tanh(), self.drop(self.b(b)).tanh()


class Contrast:
    """The part of a coupled task that the step needs."""

    embed = staticmethod(lambda model, batch: model(batch["a"], batch["b"]))
    groups = staticmethod(lambda batch: batch["group"])

    @staticmethod
    def coupled_loss(model: Any, embeddings: Any, group: Any) -> Any:
        logits = embeddings[0] @ embeddings[1].T * model.temperature.exp()
        same = (group[:, None] == group[None, :]).to(logits.dtype)
        loss = -(logits.log_softmax(1) * same / same.sum(1, keepdim=True)).sum()
        return loss, torch.tensor(len(group))


@pytest.fixture(autouse=True)
def _double():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(before)


def rows(count: int) -> dict[str, Any]:
    group = torch.arange(count) // 2
    return {"a": torch.randn(count, 5), "b": torch.randn(count, 3), "group": group}


def cut(batch: dict[str, Any], sizes: list[int]) -> list[dict[str, Any]]:
    parts = {key: value.split(sizes) for key, value in batch.items()}
    return [{key: parts[key][n] for key in batch} for n in range(len(sizes))]


def gradients(model: nn.Module, batches: list[Any], fillers: list[bool]) -> tuple[Any, list[Any]]:
    model.zero_grad()
    step = CoupledStep(Contrast(), model, batches, fillers)
    step.embed()
    step.differentiate(model)
    for number, batch in enumerate(batches):
        last = number == len(batches) - 1
        step.surrogate(number, batch, factor=1.0, world=1, last=last).backward()
    return step.total, [parameter.grad.clone() for parameter in model.parameters()]


@pytest.mark.parametrize("sizes", [[8], [4, 4], [3, 3, 2], [1] * 8])
def test_the_gradient_is_that_of_one_pass_with_the_temperature(sizes):
    model, batch = Towers(), rows(8)
    loss, _ = Contrast.coupled_loss(model, model(batch["a"], batch["b"]), batch["group"])
    expected = torch.autograd.grad(loss, list(model.parameters()))
    total, found = gradients(model, cut(batch, sizes), [False] * len(sizes))
    assert total.item() == pytest.approx(loss.item(), rel=1e-12)
    assert len(found) == 5
    for one, other in zip(found, expected, strict=True):
        assert one.abs().max() > 0
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_a_filler_changes_neither_loss_nor_gradient():
    model, batch = Towers(), rows(6)
    alone = gradients(model, cut(batch, [6]), [False])
    filler = cut(batch, [1, 5])[0]
    beside = gradients(model, [*cut(batch, [6]), filler], [False, True])
    torch.testing.assert_close(beside, alone, rtol=1e-12, atol=1e-14)


def test_dropout_drops_the_same_units_in_both_passes():
    model, batch = Towers(dropout=0.5), rows(8)
    state = random_state()
    pieces = cut(batch, [4, 4])
    parts = [model(piece["a"], piece["b"]) for piece in pieces]
    whole = [torch.cat([part[side] for part in parts]) for side in (0, 1)]
    loss, _ = Contrast.coupled_loss(model, whole, batch["group"])
    expected = torch.autograd.grad(loss, list(model.parameters()))
    restore(state)
    _, found = gradients(model, pieces, [False, False])
    torch.testing.assert_close(found, list(expected), rtol=1e-10, atol=1e-12)


def test_the_random_state_comes_back():
    state = random_state()
    one = torch.rand(3), random.random(), np.random.rand()
    restore(state)
    other = torch.rand(3), random.random(), np.random.rand()
    assert torch.equal(one[0], other[0])
    assert one[1:] == other[1:]


def test_alone_a_rank_gathers_its_own_rows():
    part = torch.arange(4)
    gathered, first = gather_rows(part)
    assert torch.equal(gathered, part)
    assert first == 0
    assert gathered.data_ptr() != part.data_ptr()


def test_the_step_asks_nothing_that_a_coupled_task_does_not_promise():
    assert {"embed", "coupled_loss", "groups"} <= CoupledTask.__abstractmethods__


@pytest.mark.parametrize(("sizes", "passes"), [([8], 1), ([4, 4], 4)])
def test_one_micro_batch_is_embedded_once(sizes, passes):
    model, batch, seen = Towers(), rows(8), []
    model.register_forward_hook(lambda *_: seen.append(None))
    gradients(model, cut(batch, sizes), [False] * len(sizes))
    assert len(seen) == passes


def test_the_units_that_one_micro_batch_drops_are_dropped_once():
    model, batch = Towers(dropout=0.5), rows(8)
    torch.manual_seed(3)
    loss, _ = Contrast.coupled_loss(model, model(batch["a"], batch["b"]), batch["group"])
    expected = torch.autograd.grad(loss, list(model.parameters()))
    torch.manual_seed(3)
    _, found = gradients(model, [batch], [False])
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)
