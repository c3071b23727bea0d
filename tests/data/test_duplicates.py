"""Duplicates: which copy stays, and what leaks."""

from finetune.data.duplicates import exact_reasons


def kept(rows, questions=None):
    reasons = exact_reasons(rows, questions or rows)
    return {split: [not reason for reason in found] for split, found in reasons.items()}


def test_the_first_copy_within_a_split_stays():
    assert kept({"train": [b"a", b"b", b"a"]}) == {"train": [True, True, False]}


def test_across_splits_the_copy_that_is_scored_stays():
    assert kept({"train": [b"a", b"b"], "validation": [b"b", b"c"], "test": [b"c"]}) == {
        "test": [True],
        "validation": [True, False],
        "train": [True, False],
    }


def test_the_same_question_with_another_answer_stays_within_a_split():
    rows, questions = {"train": [b"a1", b"a2"]}, {"train": [b"a", b"a"]}
    assert kept(rows, questions) == {"train": [True, True]}


def test_the_same_question_with_another_answer_is_still_a_leak_across_splits():
    found = kept({"train": [b"a1"], "test": [b"a2"]}, {"train": [b"a"], "test": [b"a"]})
    assert found == {"train": [False], "test": [True]}
