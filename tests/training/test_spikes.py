"""Losses out of the ordinary."""

from __future__ import annotations

import math

import pytest

from finetune.training.spikes import FEWEST, LossWatch


def spikes(losses, factor=3.0):
    watch = LossWatch()
    return [step for step, loss in enumerate(losses) if watch.usual(loss, factor) is not None]


def noisy(count):
    return [1.0 + 0.1 * math.sin(number * 7) for number in range(count)]


def test_one_loss_far_above_the_others_is_found():
    assert spikes([*noisy(40), 9.0, *noisy(20)]) == [40]


def test_the_usual_loss_is_told():
    watch = LossWatch()
    for loss in noisy(30):
        assert watch.usual(loss, 3.0) is None
    assert watch.usual(9.0, 3.0) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("losses", [noisy(300), [2.0 ** (-n / 9) for n in range(200)]])
def test_noise_and_a_falling_loss_are_ordinary(losses):
    assert spikes(losses) == []


def test_the_first_losses_are_not_judged():
    assert spikes([*noisy(FEWEST - 1), 50.0]) == []


def test_losses_that_vary_by_much_are_not_called_spikes():
    assert spikes([0.01 if number % 2 else 0.05 for number in range(80)]) == []


def test_a_loss_that_rose_for_good_is_accepted_in_time():
    assert len(spikes([*noisy(64), *([2.9] * 10), *([8.0] * 300)])) < 80
