"""What is wrong between rows is counted, with pairs of ids."""

from finetune.data.audit import (
    class_counts,
    label_conflicts,
    leakage,
    unseen_labels,
)


def test_planted_leaks_are_found_with_their_ids():
    questions = {"train": [b"a", b"b", b"c"], "validation": [b"x"], "test": [b"b", b"x", b"y"]}
    ids = {split: [f"{split}:{i}" for i in range(1, 4)] for split in questions}
    found = leakage(questions, ids)
    assert found["exact"] == 2
    assert found["pairs"] == [["train:2", "test:1"], ["validation:1", "test:2"]]
    assert found["rows"] == {"test": 2}
    assert found["near"] is None


def test_every_pair_counts_but_only_twenty_are_shown():
    questions = {"train": [b"a"] * 10, "test": [b"a"] * 5}
    found = leakage(questions, {"train": ["t"] * 10, "test": ["u"] * 5})
    assert found["exact"] == 50
    assert len(found["pairs"]) == 20
    assert found["rows"] == {"test": 5}


def test_the_same_input_with_two_labels_is_a_conflict():
    assert label_conflicts([b"a", b"a", b"b", b"b"], ["x", "y", "x", "x"]) == 2


def test_classes_are_counted_in_all_and_in_each_split():
    counts = class_counts({"train": ["b", "a", "b"], "test": ["a", "a"]})
    assert counts["classes"] == {"a": 3, "b": 2}
    assert counts["class_splits"] == {"train": {"a": 1, "b": 2}, "test": {"a": 2}}
    assert list(counts["classes"]) == ["a", "b"]


def test_labels_that_train_lacks_are_listed_by_split():
    labels = {"train": ["a"], "validation": ["a"], "test": ["z", "a", "z"]}
    assert unseen_labels(labels) == {"test": {"z": 2}}
