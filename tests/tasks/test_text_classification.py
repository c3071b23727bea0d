"""One label per text: labels, limits and what the exported model calls its classes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from finetune.errors import DataError
from finetune.models.load import LoadOptions
from finetune.tasks.text_classification import TextClassification
from tests.contracts.cases import compose, prepared
from tests.models.bases import TINY


@pytest.fixture
def task() -> TextClassification:
    found = TextClassification(max_length=8)
    found.learn({"classes": {"yes": 3, "no": 2}})
    found.load_processor(TINY / "bert")
    return found


def test_a_long_text_is_cut_and_keeps_its_end_token(task: TextClassification) -> None:
    short, long = task.encode([{"text": "hello"}, {"text": "hello " * 50}])
    assert short["length"] == short["n_tokens"]
    assert long["length"] == len(long["input_ids"]) == 8
    assert long["n_tokens"] > 50
    assert long["input_ids"][-1] == task.processor.sep_token_id
    assert long["input_ids"][0] == task.processor.cls_token_id


def test_without_a_limit_of_its_own_the_model_s_counts(task: TextClassification) -> None:
    task.max_length = None
    assert task.limit() == task.processor.model_max_length


def test_labels_are_numbers_of_the_learnt_names(task: TextClassification) -> None:
    rows = [{"text": "a", "label": "yes"}, {"text": "b", "label": "no"}]
    assert task.labels == ["no", "yes"]
    assert task.collate(task.encode(rows))["labels"].tolist() == [1, 0]


def test_training_rows_of_one_label_are_refused_before_anything_is_trained(tmp_path: Path) -> None:
    counts = {"classes": {"yes": 3, "no": 2}, "class_splits": {"train": {"yes": 3}}}
    with pytest.raises(DataError, match="All 3 training rows have the same label"):
        TextClassification().learn(counts)
    file = tmp_path / "rows.csv"
    file.write_text("text,label\n" + "".join(f"text {n} of mine,a\n" for n in range(40)))
    with pytest.raises(DataError, match="same label"):
        prepared(compose(TextClassification.tag, tmp_path / "run", f"data.path={file}"))


def test_rows_without_labels_make_a_batch_without(task: TextClassification) -> None:
    assert "labels" not in task.collate(task.encode([{"text": "a"}, {"text": "b", "label": None}]))


def test_the_exported_model_knows_its_classes_by_name(
    task: TextClassification, tmp_path: Path
) -> None:
    task.save_model(task.load_model(TINY / "bert", LoadOptions()).model, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert config["id2label"] == {"0": "no", "1": "yes"}
    assert config["architectures"] == ["BertForSequenceClassification"]


def test_answers_are_labels_with_probabilities(task: TextClassification) -> None:
    model = task.load_model(TINY / "bert", LoadOptions()).model
    for prediction in task.predict(model, [{"text": "hello"}, {"text": "bye " * 40}]):
        assert prediction.value in task.labels
        assert 0.5 <= prediction.score <= 1


def test_the_chosen_metric_comes_first() -> None:
    task = TextClassification(primary_metric="macro_f1")
    assert task.scored_by[0] == task.primary == "macro_f1"
    assert len(set(task.scored_by)) == len(task.scored_by)


def test_weights_come_from_the_training_rows_and_count_in_training_alone() -> None:
    import torch

    task = TextClassification(class_weights="auto", focal_gamma=2.0)
    task.learn({"classes": {"yes": 50, "no": 50}, "class_splits": {"train": {"yes": 30, "no": 10}}})
    assert task.weights == [2.0, 40 / 60]
    task.load_processor(TINY / "bert")
    model = task.load_model(TINY / "bert", LoadOptions(dropout=0.0)).model
    rows = [{"text": "a", "label": "yes"}, {"text": "b", "label": "no"}]
    batch = task.collate(task.encode(rows))
    assert task.units(batch) == pytest.approx(2 + 40 / 60)
    with torch.no_grad():
        validation, ones = task.row_losses(model.eval(), batch)
        training, weights = task.row_losses(model.train(), batch)
    assert ones.tolist() == [1, 1]
    assert weights.tolist() == pytest.approx([40 / 60, 2.0])
    wrong = 1 - (-validation).exp()
    torch.testing.assert_close(training, validation * wrong**2 * weights)
