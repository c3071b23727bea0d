"""The losses of pairs against their formulas, worked out in plain Python."""

from __future__ import annotations

import math

import pytest
import torch

from finetune.tasks.preference_losses import pair_losses

GROWN = torch.tensor([[1.5, -0.5], [-2.0, 3.0]])
LENGTHS = torch.tensor([[3, 4], [2, 8]])
MARGINS = [2.0, -5.0]
BETA = 0.2


def losses(loss_type, smoothing=0.0):
    return pair_losses(
        GROWN, LENGTHS, loss_type=loss_type, beta=BETA, label_smoothing=smoothing
    ).tolist()


def minus_log_sigmoid(x):
    return math.log1p(math.exp(-x))


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


WANTED = {
    "sigmoid": [minus_log_sigmoid(BETA * m) for m in MARGINS],
    "sigmoid_norm": [
        minus_log_sigmoid(BETA * (1.5 / 3 + 0.5 / 4)), minus_log_sigmoid(BETA * (-1 - 3 / 8))
    ],
    "hinge": [1 - BETA * 2.0, 1 + BETA * 5.0],
    "ipo": [(1.5 / 3 + 0.5 / 4 - 2.5) ** 2, (-1 - 3 / 8 - 2.5) ** 2],
    "robust": [minus_log_sigmoid(BETA * m) for m in MARGINS],
    "apo_zero": [
        1 - sigmoid(BETA * a) + sigmoid(BETA * b) for a, b in ((1.5, -0.5), (-2.0, 3.0))
    ],
    "apo_down": [sigmoid(BETA * 1.5) + 1 - sigmoid(0.4), sigmoid(BETA * -2.0) + 1 - sigmoid(-1.0)],
}  # fmt: skip


@pytest.mark.parametrize("loss_type", WANTED)
def test_a_loss_is_its_formula(loss_type):
    assert losses(loss_type) == pytest.approx(WANTED[loss_type], rel=1e-6)


def test_smoothing_mixes_the_pair_with_the_pair_turned_round():
    right, wrong = minus_log_sigmoid(0.4), minus_log_sigmoid(-0.4)
    assert losses("sigmoid", 0.1)[0] == pytest.approx(0.9 * right + 0.1 * wrong)
    assert losses("robust", 0.1)[0] == pytest.approx((0.9 * right - 0.1 * wrong) / 0.8)


def test_a_model_that_has_not_moved_has_the_loss_of_a_coin():
    found = pair_losses(
        torch.zeros(1, 2), LENGTHS[:1], loss_type="sigmoid", beta=BETA, label_smoothing=0.0
    )
    assert found.item() == pytest.approx(math.log(2))
