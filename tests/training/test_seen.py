"""What the trainer counted."""

from __future__ import annotations

import json
import math

from finetune.training.seen import Seen
from finetune.training.spikes import LossWatch


def test_a_line_is_the_mean_of_the_steps_since_the_last_one():
    seen = Seen()
    seen.count(1.0, 5)
    seen.count(2.0, 7)
    assert (seen.line(), seen.units) == (1.5, 12)
    seen.count(4.0, 1)
    assert seen.line() == 4.0


def test_a_line_without_a_step_has_no_loss():
    assert math.isnan(Seen().line())


def test_counts_come_back_from_json_bit_by_bit():
    seen = Seen(units=0.1 + 0.2, loss=1 / 3, steps=2, skipped=[4], not_finite=[7], halvings=1)
    seen.watch = LossWatch([1 / 7, 2.5])
    other = Seen()
    other.load(json.loads(json.dumps(seen.state())))
    assert other == seen
