"""What is simpler than fine-tuning answers from the training rows alone."""

from __future__ import annotations

import pytest

from finetune.metrics import find
from finetune.tasks import baselines

TRAIN = [
    {"text": "open the door", "label": "open"},
    {"text": "open a window", "label": "open"},
    {"text": "shut the door", "label": "shut"},
]
TEST = [{"text": "please open it", "label": "?"}, {"text": "shut it", "label": "?"}]


def values(predictions):
    return [prediction.value for prediction in predictions]


def test_majority_answers_the_most_frequent_and_ties_by_name() -> None:
    assert values(baselines.majority("label")(TRAIN, TEST)) == ["open", "open"]
    assert values(baselines.majority("label")(TRAIN[1:], TEST)) == ["open", "open"]
    assert baselines.majority("label")(TRAIN, TEST)[0].score == 2 / 3


def test_tfidf_reads_the_text() -> None:
    found = baselines.tfidf_logistic_regression("text", "label")(TRAIN, TEST)
    assert values(found) == ["open", "shut"]
    assert all(0.5 < prediction.score <= 1 for prediction in found)


def test_tfidf_with_one_label_answers_it() -> None:
    found = baselines.tfidf_logistic_regression("text", "label")(TRAIN[:2], TEST)
    assert values(found) == ["open", "open"]


def test_tfidf_takes_texts_of_signs_alone() -> None:
    rows = [{"text": "!!", "label": "a"}, {"text": "??", "label": "b"}]
    found = baselines.tfidf_logistic_regression("text", "label")(rows, rows)
    assert values(found) == ["a", "b"]


def test_copy_answers_the_input() -> None:
    assert values(baselines.copy("text")([], TEST)) == ["please open it", "shut it"]


def test_the_nearest_neighbour_s_answer_is_given() -> None:
    assert values(baselines.nearest_neighbour("text", "label")(TRAIN, TEST)) == ["open", "shut"]


def test_the_nearest_neighbour_takes_empty_texts() -> None:
    rows = [{"text": "", "label": "a"}, {"text": "word", "label": "b"}]
    assert values(baselines.nearest_neighbour("text", "label")(rows, rows[1:])) == ["b"]


@pytest.mark.parametrize("captions", [3, 64])
def test_chance_is_scored_by_its_expectation_and_agrees_with_itself(captions: int) -> None:
    rows = [{"text": str(number % captions)} for number in range(2 * captions)]
    found = baselines.chance("text")([], rows)
    ranks, references = [each.rank for each in found], [row["text"] for row in rows]
    drawn = range(1, captions + 1)
    expected = {
        "recall_at_1": 1 / captions,
        "recall_at_5": min(5, captions) / captions,
        "mean_rank": (captions + 1) / 2,
        "mrr": sum(1 / rank for rank in drawn) / captions,
    }
    for name, value in expected.items():
        assert find(name)(ranks, references) == pytest.approx(value), name
    assert find("zero_shot_accuracy")(ranks, references) == pytest.approx(1 / captions)
    assert set(values(found)) == {"0"}  # a text, as other metrics want it
