"""Which of two evaluations that score alike is kept."""

from __future__ import annotations

import math

import pytest

from finetune.training.best import wins_tie


@pytest.mark.parametrize(
    ("score", "loss", "best", "best_loss", "wins"),
    [
        (0.0, 2.9, 0.0, 3.3, True),
        (0.0, 3.3, 0.0, 3.3, True),
        (0.0, 5.5, 0.0, 3.3, False),
        (0.0, math.nan, 0.0, 3.3, False),
        (0.0, 3.3, 0.0, math.nan, False),
        (0.0, 3.3, 0.0, None, True),
        (0.1, 1.0, 0.2, 3.3, False),
        (0.2, 1.0, None, None, False),
    ],
)
def test_a_tie_goes_to_the_lower_loss_and_then_to_the_later_step(
    score, loss, best, best_loss, wins
):
    metrics = {"eval_wer": score, "eval_loss": loss}
    assert wins_tie(metrics, "eval_wer", best=best, best_loss=best_loss) is wins
