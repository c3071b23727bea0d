"""MinHash: keys meet as often as theory says, and a set has the same keys in any company."""

import numpy as np
import pytest

from finetune.data.near.minhash import BANDS, ROWS, band_keys
from finetune.data.near.shingles import Sets, jaccard


def sets_of(rows):
    return Sets(
        np.concatenate([np.asarray(row, np.uint32) for row in rows]),
        np.concatenate([[0], np.cumsum([len(row) for row in rows])]),
    )


@pytest.mark.parametrize("similarity", [0.5, 0.7, 0.8, 0.9])
def test_pairs_meet_as_often_as_theory_says(similarity):
    draw = np.random.default_rng(0)
    union = 60
    common = round(similarity * union)
    rows = []
    for _ in range(1_500):
        pool = draw.integers(0, 2**32, union, np.uint32)
        cut = common + (union - common) // 2
        rows += [pool[:cut], np.concatenate([pool[:common], pool[cut:]])]
    sets = sets_of(rows)
    exact = jaccard(sets, np.arange(0, 3_000, 2), np.arange(1, 3_000, 2))
    keys = band_keys(sets)
    met = (keys[:, ::2] == keys[:, 1::2]).any(0)
    expected = 1 - (1 - exact.mean() ** ROWS) ** BANDS
    assert abs(met.mean() - expected) < 0.04


def test_a_set_has_the_same_keys_alone_and_in_company_and_in_any_order():
    draw = np.random.default_rng(1)
    rows = [draw.integers(0, 2**32, size, np.uint32) for size in (1, 70_000, 3, 140_000, 200)]
    keys = band_keys(sets_of(rows))
    for number, row in enumerate(rows):
        assert (band_keys(sets_of([row[::-1]]))[:, 0] == keys[:, number]).all()
