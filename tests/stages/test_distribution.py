"""How lengths are distributed."""

from __future__ import annotations

import numpy as np

from finetune.stages import distribution


def test_the_histogram_counts_every_row_once():
    sizes = np.array([3, 3, 4, 900, 12])
    bins = distribution.histogram(sizes)
    assert sum(count for _, _, count in bins) == 5
    assert bins[0][0] == 3
    assert bins[-1][1] >= 900
    assert len(bins) <= distribution.BINS


def test_padding_is_what_the_longest_of_a_batch_costs():
    found = distribution.padding(np.array([1] * 32 + [9] * 32), seed=0)
    assert found["by_length"] == 0
    assert 0.3 < found["random"] < 0.5
    assert distribution.padding(np.array([], int), seed=0) is None
