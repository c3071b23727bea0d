"""One global batch: the same loss and gradient however it is cut."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch import nn

from finetune.training import step
from finetune.training.exchange import Copies


class Squares:
    """A task that predicts y; a row has as many units as its weight."""

    def units(self, batch):
        return float(batch["weight"].sum())

    def loss(self, model, batch):
        errors = (model(batch["x"])[:, 0] - batch["y"]) ** 2 * batch["weight"]
        return errors.sum(), batch["weight"].sum()


class Alone:
    """What of an accelerator one rank needs."""

    def backward(self, loss):
        loss.backward()


@pytest.fixture
def batch():
    torch.manual_seed(0)
    return {
        "x": torch.randn(9, 3, dtype=torch.float64),
        "y": torch.randn(9, dtype=torch.float64),
        "weight": torch.tensor([1, 1, 0, 1, 1, 1, 0, 0, 1]),
    }


def run(batch, sizes, fillers=None):
    """Return loss and gradient of a batch that is cut into sizes."""
    torch.manual_seed(1)
    model, accelerator = nn.Linear(3, 1, dtype=torch.float64), Alone()
    parts = {key: value.split(sizes) for key, value in batch.items()}
    batches = [{key: parts[key][n] for key in batch} for n in range(len(sizes))]
    fillers = fillers or [False] * len(sizes)
    units = step.units(Squares(), batches, fillers, 1)
    loss = step.backward(
        Squares(),
        model,
        batches,
        fillers,
        units=units,
        world=1,
        exchange=Copies(accelerator, model, 1),
        inner=model,
        precision=contextlib.nullcontext,
    )
    return units, loss, model.weight.grad


@pytest.mark.parametrize("sizes", [[1] * 9, [4, 5], [2, 1, 6], [8, 1]])
def test_loss_and_gradient_do_not_depend_on_the_cut(batch, sizes):
    whole, cut = run(batch, [9]), run(batch, sizes)
    assert whole[0] == cut[0] == 6
    torch.testing.assert_close(cut[1:], whole[1:], rtol=1e-6, atol=0)


def test_the_loss_is_divided_by_units_not_by_rows(batch):
    _, loss, gradient = run(batch, [9])
    kept = batch["weight"] == 1
    _, alone, expected = run({key: value[kept] for key, value in batch.items()}, [6])
    torch.testing.assert_close((loss, gradient), (alone, expected))


def test_a_filler_counts_nothing(batch):
    first = {key: value[:6] for key, value in batch.items()}
    torch.testing.assert_close(run(batch, [6, 3], [False, True]), run(first, [6]))


def test_weights_need_not_be_whole(batch):
    batch = {**batch, "weight": torch.tensor([0.3, 2.5, 0, 0.7, 1, 0.1, 0, 0.2, 0.6])}
    whole, cut = run(batch, [9]), run(batch, [2, 4, 3])
    assert whole[0] == pytest.approx(5.4)
    torch.testing.assert_close(cut[1:], whole[1:], rtol=1e-6, atol=0)
