"""The splits as training needs them: augmented and balanced in training, as they are elsewhere."""

from __future__ import annotations

import pytest

from finetune.runs.folder import RunFolder
from finetune.stages import base_model, rows
from tests.training.drive import config_of

BERT = "text-classification"


@pytest.fixture
def case(tmp_path):
    """A prepared run whose texts are changed and whose classes are balanced."""
    options = ("data.augment.text.delete=0.4", "train.sampling=balanced")
    config = config_of(BERT, tmp_path, *options)
    run = RunFolder(tmp_path / config.name)
    config.task.load_processor(base_model.resolve(config).folder)
    config.task.learn({"classes": dict.fromkeys(set(rows.splits.read(run, "train")["label"]), 1)})
    return run, config


def test_training_rows_are_changed_by_their_visit_and_validation_rows_never(case):
    run, config = case
    train = rows.of_training(run, config)
    plain = rows.of(run, config.task, "train").fetch([0, 1, 2])
    assert train.fetch([0, 1, 2]) == plain
    visited = train.fetch([0, 1, 2], [(0, 0)] * 3)
    assert visited != plain
    assert visited == train.fetch([0, 1, 2], [(0, 0)] * 3)
    assert [item["labels"] for item in visited] == [item["labels"] for item in plain]
    validation = rows.of(run, config.task, "validation")
    assert validation.fetch([0], [(0, 0)]) == validation.fetch([0])
    assert validation.classes is None


def test_an_epoch_has_as_many_rows_as_its_order(case):
    run, config = case
    train = rows.of_training(run, config)
    counts = [train.classes.count(name) for name in set(train.classes)]
    assert rows.of_an_epoch(run, config) == max(counts) * len(counts)
    config.train.sampling = "shuffled"
    assert rows.of_an_epoch(run, config) == len(train)
    assert rows.of_training(run, config).classes is None
