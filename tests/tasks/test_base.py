"""Padding, masks, order and the sum of token losses."""

from __future__ import annotations

import pytest

from finetune.tasks import base
from finetune.tasks.text_classification import TextClassification


def test_padding_goes_to_the_side_that_is_asked_for() -> None:
    assert base.pad([[1, 2], [3]], 9).tolist() == [[1, 2], [3, 9]]
    assert base.pad([[1, 2], [3]], 9, left=True).tolist() == [[1, 2], [9, 3]]
    assert base.pad([], 9).shape == (0,)


def test_the_mask_is_by_length_and_not_by_the_token() -> None:
    assert base.mask([[9, 9], [9]]).tolist() == [[1, 1], [1, 0]]
    assert base.mask([[9, 9], [9]], left=True).tolist() == [[1, 1], [0, 1]]


def test_batches_are_of_similar_length_and_answers_in_the_given_order() -> None:
    features = [{"length": n} for n in (1, 9, 2, 8)]
    seen = []

    def answer(chosen: list[int]) -> list[int]:
        seen.append([features[i]["length"] for i in chosen])
        return [features[i]["length"] * 10 for i in chosen]

    assert base.in_batches(features, 2, answer) == [10, 90, 20, 80]
    assert seen == [[9, 8], [2, 1]]


def test_too_few_answers_are_noticed() -> None:
    with pytest.raises(ValueError, match="shorter"):
        base.in_batches([{}, {}], 2, lambda _: [1])


def test_numbers_sort_as_numbers() -> None:
    assert sorted(["10", "9", "-1", "b", "a"], key=base.natural) == ["-1", "9", "10", "a", "b"]


def test_options_are_what_a_user_may_set() -> None:
    options = base.options_of(TextClassification(pooling="mean"))
    assert options["pooling"] == "mean"
    assert "processor" not in options
    assert "labels" not in options


def test_labels_are_learnt_in_natural_order() -> None:
    task = TextClassification()
    task.learn({"classes": {"10": 1, "2": 5}})
    assert task.labels == ["2", "10"]
