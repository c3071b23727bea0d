"""Leaks: counted by size, named by row, the exact ones left to others."""

import time

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from finetune.data.near.clusters import Near
from finetune.data.near.leaks import leaks
from finetune.data.near.text import find_near

none = np.zeros(0, np.int64)


def grouped(clusters, content):
    return Near(
        np.array(clusters, np.int64),
        none,
        none,
        np.zeros(0, np.float32),
        none,
        np.array(content, np.uint64),
    )


def test_a_variant_in_another_split_is_a_leak_and_a_copy_is_not():
    texts = ["Where is my card?", "Where is my card?", "where is my card", "else"]
    found = leaks(find_near([pa.table({"text": texts})]), ["train", "test", "test", "train"])
    assert found.pairs == 1
    assert found.examples == [(0, 2)]
    assert found.touched == {"test": 1, "train": 1}
    assert found.rows.tolist() == [True, False, True, False]


def test_rows_that_are_not_cut_yet_leak_nowhere():
    assert leaks(grouped([0, 0, 0], [1, 2, 3]), ["", "train", "train"]).pairs == 0


def test_what_is_exact_can_be_said_from_outside():
    near = grouped([0, 0], [1, 2])
    assert leaks(near, ["train", "test"]).pairs == 1
    assert leaks(near, ["train", "test"], exact=np.array([5, 5])).pairs == 0


def test_a_link_between_two_clusters_is_a_leak_too():
    near = Near(
        np.array([-1, -1]),
        np.array([0]),
        np.array([1]),
        np.array([0.9]),
        none,
        np.array([1, 2], np.uint64),
    )
    found = leaks(near, ["train", "test"])
    assert (found.pairs, found.examples) == (1, [(0, 1)])
    assert found.rows.all()
    assert leaks(near, ["train", "test"], exact=np.array([5, 5])).pairs == 0


def test_no_rows_have_no_leaks():
    found = leaks(grouped([], []), [])
    assert (found.pairs, found.examples, found.touched) == (0, [], {})


def test_a_cluster_of_two_hundred_thousand_is_counted_without_listing_its_pairs():
    count = 200_000
    begin = time.process_time()
    found = leaks(grouped([0] * count, range(count)), ["train"] * (count - 1) + ["test"])
    assert (found.pairs, len(found.examples), found.touched["test"]) == (count - 1, 20, 1)
    assert time.process_time() - begin < 5


@given(
    st.lists(
        st.tuples(
            st.integers(-1, 2),
            st.sampled_from(["train", "test", "validation", ""]),
            st.integers(0, 3),
        ),
        max_size=12,
    )
)
def test_counts_are_those_of_looking_at_every_pair(rows):
    # The same content is always in the same cluster.
    clusters = [cluster for cluster, _, _ in rows]
    content = [cluster * 10 + same + 100 for cluster, _, same in rows]
    splits = [split for _, split, _ in rows]
    expected = [
        (one, other)
        for one in range(len(rows))
        for other in range(one + 1, len(rows))
        if clusters[one] == clusters[other] >= 0
        and splits[one] != splits[other]
        and "" not in (splits[one], splits[other])
        and content[one] != content[other]
    ]
    found = leaks(grouped(clusters, content), splits, examples=1_000)
    assert found.pairs == len(expected)
    assert found.examples == expected
    assert set(np.flatnonzero(found.rows).tolist()) == {row for pair in expected for row in pair}
