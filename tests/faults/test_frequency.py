"""How often a run logs, scores and saves changes no weight."""

from __future__ import annotations

import pytest

from tests.contracts.cases import RECIPES
from tests.faults import harness

BERT, *_ = RECIPES
OTHERWISE = {
    "logged rarely, never scored": (
        "train.logging_steps=3",
        "train.eval_strategy=no",
        "train.eval_steps=null",
    ),
    "scored every step": ("train.eval_steps=1",),
    "scored once an epoch": ("train.eval_strategy=epoch", "train.eval_steps=null"),
    "saved every third step": ("train.save_strategy=steps", "train.save_steps=3"),
    "scored on more rows": ("train.eval_max_rows=9", "train.logging_steps=2"),
}


def weights(fingerprint):
    """Return what a checkpoint holds of weights, optimiser and randomness: all but its JSON."""
    found = {
        name: digest
        for name, digest in fingerprint.items()
        if name.startswith("checkpoint") and not name.endswith(".json")
    }
    assert len(found) > 2
    return found


@pytest.mark.slow
@pytest.mark.parametrize("how", OTHERWISE)
def test_weights_and_optimiser_are_the_same_bits(how):
    usual = tuple(harness.command(BERT, "strategy=lora"))
    assert weights(harness.uninterrupted((*usual, *OTHERWISE[how]))) == weights(
        harness.uninterrupted(usual)
    )
