"""Ranks, ties, duplicates, and what is computed from ranks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from finetune.errors import DataError, NumericsError
from finetune.metrics import find
from finetune.metrics.retrieval import AnyRank, ranks, same


def test_the_rank_counts_the_wrong_items_before_the_right_one() -> None:
    similarity = [[0.1, 0.9, 0.5], [0.1, 0.9, 0.5]]
    assert ranks(similarity, [2, 1]).tolist() == [2, 1]
    assert ranks(similarity, np.eye(3)[[2, 1]].astype(bool)).tolist() == [2, 1]


def test_a_caption_that_two_pictures_share_is_right_for_both() -> None:
    captions = ["red circle", "blue square", "red circle"]
    similarity = [[0.5, 0.1, 0.9], [0.1, 0.9, 0.2], [0.9, 0.1, 0.5]]
    assert ranks(similarity, [0, 1, 2]).tolist() == [2, 1, 2]
    assert ranks(similarity, same(captions, captions)).tolist() == [1, 1, 1]


def test_a_model_that_finds_everything_alike_comes_last() -> None:
    """The optimistic count would give a collapsed model a perfect recall."""
    assert ranks(np.ones((4, 4)), np.arange(4)).tolist() == [4, 4, 4, 4]


def test_a_query_without_a_right_item_comes_after_the_last() -> None:
    assert ranks([[0.3, 0.2]], [[False, False]]).tolist() == [3]


@settings(max_examples=60, deadline=None)
@given(arrays(np.float64, (5, 7), elements=st.integers(0, 3)), arrays(np.bool_, (5, 7)))
def test_ranks_are_those_of_a_sort_with_the_wrong_items_first(
    similarity: np.ndarray, relevant: np.ndarray
) -> None:
    for row, right, rank in zip(similarity, relevant, ranks(similarity, relevant), strict=True):
        order = sorted(range(7), key=lambda item: (-row[item], right[item]))
        places = [place for place, item in enumerate(order, 1) if right[item]]
        # Right items that precede the first right one don't exist, so only wrong ones count.
        assert rank == (places[0] if places else 8)


def test_what_is_computed_from_ranks() -> None:
    values = {"recall_at_1": 0.25, "recall_at_5": 0.75, "recall_at_10": 0.75, "mean_rank": 6.5}
    for name, value in {**values, "mrr": (1 + 1 / 2 + 1 / 5 + 1 / 18) / 4}.items():
        assert find(name)([1, 2, 5, 18], [""] * 4) == pytest.approx(value), name


@pytest.mark.parametrize("relevant", [[0], [0, 3], [0, -1], np.ones((3, 2), bool), 0])
def test_shapes_that_do_not_fit_are_refused(relevant: object) -> None:
    with pytest.raises(DataError, match="relevant"):
        ranks(np.zeros((2, 3)), relevant)  # type: ignore[arg-type]


def test_a_similarity_that_is_not_a_number_names_its_query() -> None:
    with pytest.raises(NumericsError, match="query 1"):
        ranks([[0.0, 1.0], [np.nan, 1.0]], [0, 1])


def test_a_guess_beside_ranks_counts_as_its_expectation() -> None:
    assert find("recall_at_1")([AnyRank(4), 1, 2], [0, 0, 0]) == pytest.approx((0.25 + 1 + 0) / 3)
    assert find("zero_shot_accuracy")([AnyRank(4), "a"], ["a", "a"]) == pytest.approx(1.25 / 2)
