"""Candidates: every pair of a small bucket, few for each item of a large one."""

import itertools

import numpy as np

from finetune.data.near.buckets import HUBS, SMALL, candidates


def keys_of(*bands):
    return np.array(bands, np.uint64)


def test_every_pair_of_a_small_bucket_is_a_candidate():
    found = candidates(keys_of([7, 8, 7, 9, 7]), 0)
    assert sorted(map(tuple, found.tolist())) == [(0, 2), (0, 4), (2, 4)]
    full = candidates(np.zeros((1, SMALL), np.uint64), 0)
    assert sorted(map(tuple, full.tolist())) == list(itertools.combinations(range(SMALL), 2))


def test_a_bucket_of_a_hundred_thousand_stays_linear_and_reaches_everyone():
    found = candidates(np.zeros((2, 100_000), np.uint64), 0)
    assert len(found) <= 2 * HUBS * 100_000
    assert set(found[:, 1].tolist()) == set(range(1, 100_000))


def test_items_of_a_large_bucket_that_share_the_next_band_too_meet():
    draw = np.random.default_rng(0)
    second = draw.permutation(np.repeat(np.arange(500), 2))
    found = set(map(tuple, candidates(keys_of(np.zeros(1_000), second), 0).tolist()))
    for value in range(500):
        assert tuple(np.flatnonzero(second == value).tolist()) in found


def test_nothing_has_no_candidates():
    assert candidates(np.zeros((3, 0), np.uint64), 2).shape == (0, 2)
    assert candidates(keys_of([1]), 0).shape == (0, 2)
