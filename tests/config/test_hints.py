"""An unknown option or first word is told with what is meant."""

from __future__ import annotations

import pytest

from finetune.config import hints, names
from finetune.errors import ConfigError


@pytest.mark.parametrize("key", [key for keys in names.dotted_keys().values() for key in keys[:1]])
def test_every_key_written_as_an_option_is_answered_with_how_it_is_set(key):
    leaf = key.rsplit(".", 1)[-1]
    meant = hints.setting_like(leaf)
    assert meant == hints.SYNONYMS.get(leaf, meant)
    with pytest.raises(ConfigError) as caught:
        hints.refuse_options([f"--{leaf.replace('_', '-')}-=5"[:-3] + "=5"])
    assert f"`{meant}=5`" in str(caught.value)


def test_all_options_are_told_at_once_and_settings_pass():
    hints.refuse_options(["train.max_steps=3", "a=-1"])
    with pytest.raises(ConfigError) as caught:
        hints.refuse_options(["--x1", "-y2"])
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(
    ("word", "said"), [("shwo", "`show`"), ("fit", "recipe=NAME"), ("zz", "a, show")]
)
def test_a_first_word_that_is_no_verb_is_told_with_what_is_meant(word, said):
    assert said in str(hints.unknown_verb(word, ["a", "show"]))
