"""What is simpler than fine-tuning answers from the training rows alone."""

from __future__ import annotations

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


def test_chance_repeats_itself_and_ranks_within_the_candidates() -> None:
    rows = [{"text": str(number % 5)} for number in range(50)]
    found = baselines.chance("text")([], rows)
    assert found == baselines.chance("text")([], rows)
    assert {prediction.rank for prediction in found} == {1, 2, 3, 4, 5}
    assert {prediction.value for prediction in found} <= set("01234")
