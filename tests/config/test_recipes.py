"""Recipes: ours all compose, the user's come first and may extend ours."""

from __future__ import annotations

import shutil

import pytest

from finetune.config import places
from finetune.config.overrides import GROUPS
from finetune.config.places import INNER_GROUPS

OWN_DATA = ("data.path=rows.csv",)


@pytest.mark.parametrize("name", places.names_in(places.shipped("recipes")))
def test_every_recipe_composes_or_says_only_that_it_wants_the_users_own_data(
    name, compose, refused, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    text = (places.shipped("recipes") / f"{name}.yaml").read_text(encoding="utf-8")
    if "data.path=" in text or "data.train=" in text:
        config = compose(f"recipe={name}", *OWN_DATA)
    else:
        config = compose(f"recipe={name}")
    assert config.recipe == name
    assert config.task is not None
    assert config.model.name_or_path or not config.task.trains


@pytest.mark.parametrize(
    ("group", "choice"),
    [(g, c) for g in GROUPS if g != "recipe" for c in places.group_names(g)],
)
def test_every_choice_of_every_group_composes(group, choice, compose):
    assert compose(f"{group}={choice}")


def test_groups_are_the_folders_of_conf():
    folders = {
        entry.name
        for entry in places.shipped("conf").iterdir()
        if entry.is_dir() and list(entry.rglob("*.yaml")) and entry.name != "accelerate"
    }  # conf/accelerate is for `launch --config_file`, which Hydra never sees
    inner = {f"{group}/{name[:-1]}" for group, names in INNER_GROUPS.items() for name in names}
    assert {*folders, *inner, "recipe"} == set(GROUPS)
    assert all((places.shipped("conf") / name).is_dir() for name in inner)


def test_a_users_recipe_comes_before_ours_of_the_same_name(own_recipe, compose):
    ours = (places.shipped("recipes") / "gpt" / "chat.yaml").read_text(encoding="utf-8")
    argument = own_recipe("gpt/chat", f"{ours}\nseed: 7\n")
    assert compose(argument).seed == 7


def test_a_users_recipe_extends_ours_and_states_only_differences(own_recipe, compose):
    argument = own_recipe("mine", "defaults: [bert/text_classification]\ntrain: {max_steps: 3}\n")
    config = compose(argument)
    assert (config.train.max_steps, config.task.tag) == (3, "text-classification")


def test_a_chain_of_recipes_in_folders_extends_by_full_names(own_recipe, compose):
    own_recipe("team/base", "defaults: [bert/text_classification]\nseed: 5\n")
    argument = own_recipe("team/deep/mine", "defaults: [team/base]\ntrain: {max_steps: 3}\n")
    config = compose(argument)
    assert (config.seed, config.train.max_steps) == (5, 3)


@pytest.mark.parametrize("key", ["model", "/model", "override model", "override /model"])
def test_a_recipe_chooses_a_model_with_or_without_hydras_override(key, own_recipe, compose):
    argument = own_recipe(
        "mine", f"defaults:\n  - bert/text_classification\n  - {key}: tiny/bert\n"
    )
    assert compose(argument).model.name_or_path == "package:finetune/models/tiny/bert"


def test_the_command_line_wins_over_a_recipes_choice(own_recipe, compose):
    argument = own_recipe(
        "mine", "defaults:\n  - bert/text_classification\n  - model: distilbert\n"
    )
    config = compose(argument, "model=tiny/bert")
    assert config.model.name_or_path == "package:finetune/models/tiny/bert"


def test_a_recipe_that_extends_its_own_name_is_refused_by_name(own_recipe, refused):
    argument = own_recipe("gpt/chat", "defaults: [gpt/chat]\nseed: 7\n")
    error = refused(argument)
    assert error.problems == [
        "Recipe `gpt/chat` extends a recipe of its own name; rename your file."
    ]
    assert error.exit_code == 2


def test_a_circle_of_recipes_is_refused_by_its_names(own_recipe, refused):
    own_recipe("a", "defaults: [b]\n")
    own_recipe("b", "defaults: [c]\n")
    own_recipe("c", "defaults: [a]\n")
    [problem] = refused("recipe=a").problems
    assert problem == "Recipe `a` extends itself, by way of `b`, `c`."


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("defaults: [bert/text_clasification]", "did you mean `bert/text_classification`?"),
        ("defaults: [{model: tiny/brt}]", "did you mean `tiny/bert`"),
        ("defaults: [{modle: tiny/bert}]", "did you mean `model`"),
        ("defaults: bert/text_classification", "`defaults` must be a list"),
        ("defaults: [[a]]", "an entry that is no name"),
        ("defaults: [{model: [a]}]", "`model` must be the name of a choice"),
    ],
)
def test_a_wrong_default_is_said_with_the_recipe_and_what_was_meant(
    content, said, own_recipe, refused
):
    error = refused(own_recipe("mine", content))
    assert error.exit_code == 2
    assert said in str(error)
    assert "Recipe `mine`" in str(error)


def test_a_recipe_folder_beside_ours_does_not_hide_ours(own_recipe, compose):
    own_recipe("mine", "seed: 1\n")
    assert compose("recipe=gpt/chat").recipe == "gpt/chat"
    assert "mine" in places.recipe_names()
    assert "gpt/chat" in places.recipe_names()


def test_a_copy_of_our_recipe_under_a_new_name_composes(own_recipe, compose, tmp_path):
    own_recipe("x", "")
    shutil.copy(places.shipped("recipes") / "t5" / "text2text.yaml", tmp_path / "recipes/mine.yaml")
    assert compose("recipe=mine").task.tag == "text2text-generation"
