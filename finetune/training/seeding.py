"""Randomness as a function of seed, step and rank: nothing to save, nothing to lose."""

from __future__ import annotations

import random

import numpy as np
import torch


def seed_step(seed: int, step: int, rank: int) -> None:
    """Set every generator to where a step begins, whatever was drawn before.

    A step that is trained again, after memory ran out or in another process, then drops the same
    units; so does one that follows an evaluation, or another number of ranks before it.

    Args:
        seed: Of the run.
        step: Optimiser steps done before.
        rank: This rank: ranks draw apart from each other.
    """
    draws = np.random.SeedSequence([seed, step, rank]).generate_state(3)
    torch.manual_seed(int(draws[0]))  # every device's generator as well
    np.random.seed(int(draws[1]))
    random.seed(int(draws[2]))
