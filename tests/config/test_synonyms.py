"""The words of other tools point to keys that exist."""

from __future__ import annotations

import pytest

from finetune.config import names
from finetune.config.synonyms import SYNONYMS


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
