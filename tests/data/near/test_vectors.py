"""Vectors: bands meet where few bits differ, correlation is the one of the books."""

import numpy as np
import pytest

from finetune.data.near.vectors import Print, band_keys, correlation, near_prints


def test_a_few_wrong_bits_leave_a_band_in_common():
    draw = np.random.default_rng(0)
    bits = draw.random((200, 128)) > 0.5
    worse = bits.copy()
    for row in worse:
        row[draw.choice(128, 5, replace=False)] ^= True
    keys, changed = band_keys(bits), band_keys(worse)
    assert (keys == changed).any(0).all()
    assert not (keys[:, 1:] == keys[:, :-1]).any()


def test_correlation_is_that_of_the_books_and_flat_vectors_are_only_like_flat_ones():
    draw = np.random.default_rng(1)
    one, other = draw.integers(0, 256, (2, 5, 30)).astype(np.uint8)
    expected = [np.corrcoef(left, right)[0, 1] for left, right in zip(one, other, strict=True)]
    assert correlation(one, other) == pytest.approx(expected, abs=1e-5)
    flat = np.full((1, 30), 9, np.uint8)
    assert correlation(flat, flat + 3).tolist() == [1.0]
    assert correlation(flat, one[:1]).tolist() == [0.0]


def test_measures_beyond_their_tolerance_keep_likes_apart():
    def one(content, measure):
        return Print(content, np.zeros(16, bool), np.arange(9, dtype=np.uint8), np.array([measure]))

    found = near_prints([one(1, 0.0), None, one(2, 0.5), one(3, 9.0)], [1.0], 0.9)
    assert found.clusters.tolist() == [0, -1, 0, -1]
