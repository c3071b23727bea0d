"""Clusters: around a representative, never a chain; components as a reference would have them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from finetune.data.near.clusters import PATIENCE, components, linked, near_rows, starred


def on_a_line(positions):
    """Return items that are alike when they lie near each other."""
    place = np.array(positions, float)
    return lambda left, right: 1 - np.abs(place[left] - place[right])


def test_a_chain_of_small_steps_is_not_one_cluster():
    verify = on_a_line([0.0, 0.15, 0.3, 0.45, 0.6])
    pairs = np.array([[0, 1], [1, 2], [2, 3], [3, 4]])
    owner, stars, likeness = starred(pairs, 5, verify, 0.8)
    assert owner.tolist() == [1, 1, 1, 3, 3]
    assert sorted(stars.tolist()) == [[1, 0], [1, 2], [3, 4]]
    assert (likeness >= 0.8).all()


def test_links_between_two_clusters_are_kept_and_connect_them():
    keys = np.zeros((1, 5), np.uint64)
    near = near_rows(np.arange(5), np.arange(5), keys, on_a_line([0, 0.15, 0.3, 0.45, 0.6]), 0.8)
    assert len(set(near.clusters.tolist())) == 2
    assert near.connected().tolist() == [0] * 5
    assert (near.similarity >= np.float32(0.8)).all()


def test_what_pairs_connect_already_is_not_compared_again():
    looked = []

    def verify(left, right):
        looked.append(len(left))
        return np.ones(len(left))

    linked(np.zeros((10, 1_000), np.uint64), verify, 0.8)
    assert len(looked) == 1
    assert looked[0] < 10_000


def test_what_only_shares_a_key_is_not_linked():
    pairs, _ = linked(np.zeros((1, 2), np.uint64), on_a_line([0, 0.5]), 0.8)
    assert len(pairs) == 0


def test_items_that_are_never_alike_are_given_up():
    looked = []

    def verify(left, right):
        looked.append(len(left))
        return np.zeros(len(left))

    draw = np.random.default_rng(0)
    linked(draw.integers(0, 60, (40, 900)).astype(np.uint64), verify, 0.8)
    assert sum(looked) < 900 * 2 * PATIENCE


def test_copies_of_a_member_join_its_cluster_with_its_likeness():
    item = np.array([1, 0, -1, 0])
    near = near_rows(item, item, np.zeros((1, 2), np.uint64), on_a_line([0, 0.1]), 0.8)
    assert near.clusters.tolist() == [0, 0, -1, 0]
    pairs = dict(
        zip(zip(near.left.tolist(), near.right.tolist(), strict=True), near.similarity, strict=True)
    )
    head = int(near.representatives[0])
    assert all(left == head for left, _ in pairs)
    assert near.kept().sum() == 2


@given(
    st.integers(1, 12).flatmap(
        lambda count: st.tuples(
            st.just(count),
            st.lists(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)), max_size=15),
        )
    )
)
def test_components_are_those_of_walking_along_the_pairs(graph):
    count, pairs = graph
    expected = list(range(count))
    for _ in range(count):
        for one, other in pairs:
            expected[one] = expected[other] = min(expected[one], expected[other])
    sides = np.array(pairs, np.int64).reshape(-1, 2)
    assert components(count, sides[:, 0], sides[:, 1]).tolist() == expected
