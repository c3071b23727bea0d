"""Randomness of a step: from seed, step and rank alone."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from finetune.training.seeding import seed_step


def drawn(*key):
    seed_step(*key)
    return torch.rand(2).tolist(), float(np.random.rand()), random.random()


def test_the_same_step_draws_the_same_whatever_came_before():
    first = drawn(42, 7, 0)
    torch.rand(100), np.random.rand(3), random.random()
    assert drawn(42, 7, 0) == first


@pytest.mark.parametrize("other", [(43, 7, 0), (42, 8, 0), (42, 7, 1), (7, 42, 0)])
def test_another_seed_step_or_rank_draws_something_else(other):
    one, two = drawn(42, 7, 0), drawn(*other)
    assert all(a != b for a, b in zip(one, two, strict=True))
