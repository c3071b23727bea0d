"""What `list` prints: everything there is, discovered, with what it means."""

from __future__ import annotations

import pytest

from finetune.config import listing, names, places
from finetune.config.overrides import GROUPS
from finetune.config.schema import SECTIONS
from finetune.errors import ConfigError


def test_without_an_argument_every_recipe_group_and_section_is_named():
    text = listing.text(None)
    for word in (*places.recipe_names(), *GROUPS, *SECTIONS):
        assert word in text


@pytest.mark.parametrize("group", GROUPS)
def test_every_choice_of_a_group_is_listed_with_what_it_says_of_itself(group):
    lines = listing.text(group).splitlines()
    for name in places.group_names(group):
        [line] = [line for line in lines if line.strip().split(" ")[0] == name]
        assert len(line.split(None, 1)[1]) > 10


@pytest.mark.parametrize("section", [*SECTIONS, "strategy"])
def test_every_key_of_a_section_is_listed_with_its_meaning(section):
    lines = listing.text(section).splitlines()
    for keys in names.dotted_keys().values():
        for key in keys:
            if key.startswith(f"{section}."):
                leaf = key.removeprefix(f"{section}.")
                assert any(
                    line.split()[:1] == [leaf] and len(line.split()) >= 3 for line in lines
                ), key


def test_choices_defaults_and_nested_keys_are_shown():
    text = listing.text("train")
    assert "One of: auto, fp32, bf16, fp16." in text
    assert " auto " in text
    assert "split.train" in listing.text("data")
    assert listing.text("train.learning_rate") == text


def test_what_cannot_be_listed_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean `train`"):
        listing.text("trian")
    with pytest.raises(ConfigError, match="there are: model"):
        listing.text("zzzzz")
