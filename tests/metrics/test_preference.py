"""Accuracy, margin and loss of pairs against numbers worked out by hand."""

from __future__ import annotations

from finetune.metrics import find


def test_no_preference_counts_half() -> None:
    given, wanted = ["chosen", "rejected", "neither", "neither"], ["chosen"] * 4
    assert find("preference_accuracy")(given, wanted) == 0.5
    assert find("preference_accuracy")(["chosen", "neither"], ["chosen"] * 2) == 0.75


def test_the_margin_is_the_mean_of_the_rows() -> None:
    assert find("reward_margin")([0.5, -0.25, 0.5], ["chosen"] * 3) == 0.25


def test_a_pair_without_loss_is_not_counted() -> None:
    assert find("preference_loss")([(0.5, 1.0), (0.0, 0.0), (1.0, 1.0)], [""] * 3) == 0.75
