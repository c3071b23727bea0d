"""Accuracy, precision, recall and F1 against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from finetune.metrics import find
from finetune.metrics.classification import class_names, confusion_matrix, per_class

label = st.sampled_from(["a", "b", "c", "d", "ä"])
rows = st.lists(st.tuples(label, label), min_size=1, max_size=30)


@settings(max_examples=60, deadline=None)
@given(rows)
def test_every_average_is_scikit_learns_over_the_classes_of_the_references(
    pairs: list[tuple[str, str]],
) -> None:
    predictions, references = ([pair[side] for pair in pairs] for side in (0, 1))
    options = {"labels": sorted(set(references)), "zero_division": 0}
    expected = {
        "accuracy": sk.accuracy_score(references, predictions),
        "macro_f1": sk.f1_score(references, predictions, average="macro", **options),
        "weighted_f1": sk.f1_score(references, predictions, average="weighted", **options),
        "macro_precision": sk.precision_score(references, predictions, average="macro", **options),
        "macro_recall": sk.recall_score(references, predictions, average="macro", **options),
    }
    for name, value in expected.items():
        assert find(name)(predictions, references) == pytest.approx(value, abs=1e-12), name


# scikit-learn finds one class suspicious even when told that there is one
@pytest.mark.filterwarnings("ignore:A single label was found")
@settings(max_examples=60, deadline=None)
@given(rows)
def test_confusions_and_classes_are_scikit_learns(pairs: list[tuple[str, str]]) -> None:
    predictions, references = ([pair[side] for pair in pairs] for side in (0, 1))
    names = class_names(predictions, references)
    expected = sk.confusion_matrix(references, predictions, labels=names)
    assert confusion_matrix(predictions, references).tolist() == expected.tolist()
    columns = sk.precision_recall_fscore_support(
        references, predictions, labels=names, zero_division=0
    )
    found = per_class(predictions, references)
    assert list(found) == names
    for index, name in enumerate(names):
        if columns[3][index]:
            assert list(found[name].values()) == pytest.approx([c[index] for c in columns])
        else:
            nothing = {"precision": None, "recall": None, "f1": None, "support": 0}
            assert found[name] == nothing
        assert isinstance(found[name]["support"], int)


def test_a_macro_replicate_averages_over_the_classes_it_has() -> None:
    """A resample without a rare class must not count it as a failure."""
    metric = find("macro_f1")
    statistics = metric.measure(["a", "a", "b"], ["a", "a", "b"])
    assert metric.value(np.array([3.0, 0.0, 0.0]) @ statistics) == 1


def test_a_number_and_its_string_are_the_same_class() -> None:
    assert find("accuracy")([1, np.int64(2), "3"], ["1", 2, np.str_("3")]) == 1
    assert find("macro_f1")([0, 1], ["0", "1"]) == 1


def test_an_answer_that_is_no_class_is_wrong_and_adds_no_class() -> None:
    assert find("macro_recall")(["a", "nonsense"], ["a", "b"]) == 0.5
    assert confusion_matrix(["a", "nonsense"], ["a", "b"], ["b", "a"]).tolist() == [[0, 0], [0, 1]]
    assert per_class(["a", "b"], ["a", "a"])["b"]["support"] == 0
