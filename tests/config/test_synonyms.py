"""The words of other tools point to keys that exist."""

from __future__ import annotations

import pytest

from finetune.config import names
from finetune.config.synonyms import INSTEAD, SYNONYMS, VALUES


@pytest.mark.parametrize("theirs", SYNONYMS)
def test_every_synonym_points_to_a_key_of_ours(theirs):
    ours = SYNONYMS[theirs]
    known = {key for keys in names.dotted_keys().values() for key in keys}
    assert ours in known or ours in names.ROOT or ours == "task.max_length"


def test_the_hint_for_a_foreign_word_is_our_key(refused):
    error = refused("lr=1", "per_device_train_batch_size=8", "train.epochs=3")
    assert [text.split("did you mean ")[1] for text in error.problems] == [
        "`train.learning_rate`?",
        "`train.micro_batch_size`?",
        "`train.num_train_epochs`?",
    ]


@pytest.mark.parametrize("key", INSTEAD)
def test_what_stands_in_place_of_a_strategy_s_key_exists(key):
    assert names.strategies_with(f"strategy.{key}")
    assert names.strategies_with(INSTEAD[key].split("`")[1])


@pytest.mark.parametrize(
    ("setting", "theirs"),
    [
        ("train.optim", "adamw"),
        ("train.precision", "bfloat16"),
        ("train.precision", "float16"),
        ("train.precision", "float32"),
        ("train.device", "gpu"),
        ("task.primary_metric", "f1"),
    ],
)
def test_what_a_choice_is_called_elsewhere_points_to_ours(refused, setting, theirs):
    [problem] = refused(f"{setting}={theirs}").problems
    assert f"did you mean `{VALUES[theirs]}`" in problem


def test_dpo_is_called_sigmoid(refused):
    [problem] = refused("recipe=gpt/dpo", "task.loss_type=dpo").problems
    assert "did you mean `sigmoid`, which is the name of it here?" in problem
    assert "did you mean `ipo`" not in problem
