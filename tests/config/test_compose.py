"""Composition as a whole: replay, saved references, and every mistake in one go."""

from __future__ import annotations

import pytest
import yaml

from finetune import tasks
from finetune.config import compose as composing
from finetune.config import places
from finetune.errors import ConfigError

EXTENDS = "defaults: [bert/text_classification]\n"


def saved(config, folder):
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(config.plain, sort_keys=False, allow_unicode=True), "utf-8")
    return file


def load(file, *arguments):
    return composing.load(file, arguments, task_schema=tasks.find)


@pytest.mark.parametrize("strategy", places.group_names("strategy"))
def test_a_saved_configuration_replays_to_the_same(strategy, compose, tmp_path):
    config = compose(f"strategy={strategy}", "data.columns.text='{title}: {body}'", "seed=7")
    again = load(saved(config, tmp_path))
    assert again == config
    assert again.plain == config.plain


def test_a_replay_takes_overrides_and_deletions(compose, tmp_path):
    file = saved(compose("train.max_steps=9"), tmp_path)
    config = load(
        file, "seed=5", "~train.max_steps", "data.slices=[a,b]", "evaluate.goal.target=0.5"
    )
    assert (config.seed, config.train.max_steps, config.data.slices) == (5, None, ["a", "b"])
    assert config.evaluate.goal.target == 0.5


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("model=tiny/bert", "`model.KEY=value`"),
        ("recipe=quickstart", "replays one configuration"),
        ("seed=1,2", "add -m"),
        ("train.max_stps=1", "did you mean `train.max_steps`"),
    ],
)
def test_a_replay_refuses_what_it_cannot_take(argument, said, compose, tmp_path):
    file = saved(compose(), tmp_path)
    with pytest.raises(ConfigError) as caught:
        load(file, argument)
    assert said in str(caught.value)


def test_a_folder_without_a_configuration_is_no_run(tmp_path):
    with pytest.raises(ConfigError, match="no run folder"):
        load(tmp_path / "config.yaml")


def test_a_variables_value_is_used_but_never_saved(own_recipe, compose, monkeypatch, tmp_path):
    monkeypatch.setenv("FINETUNE_SECRET", "canary-value")
    recipe = own_recipe(
        "mine",
        EXTENDS + "data: {revision: '${oc.env:FINETUNE_SECRET}', slices: ['${data.revision}']}\n",
    )
    config = compose(recipe, "data.keep=['${oc.env:FINETUNE_SECRET}']")
    assert config.data.revision == "canary-value"
    assert config.data.keep == config.data.slices == ["canary-value"]
    file = saved(config, tmp_path)
    assert "canary-value" not in file.read_text("utf-8")
    assert "${oc.env:FINETUNE_SECRET}" in file.read_text("utf-8")
    monkeypatch.setenv("FINETUNE_SECRET", "another")
    again = load(file)
    assert again.data.revision == "another"
    assert again.data.slices == ["another"]
    assert again.plain == config.plain


def test_a_variables_value_is_not_in_a_message_either(refused, monkeypatch):
    monkeypatch.setenv("FINETUNE_SECRET", "canary-value")
    error = refused("train.max_steps=${oc.env:FINETUNE_SECRET}")
    assert "canary-value" not in str(error)
    assert "${oc.env:FINETUNE_SECRET}" in str(error)


def test_a_reference_that_other_data_makes_void_is_not_saved(own_recipe, compose, tmp_path):
    recipe = own_recipe("mine", EXTENDS + "data: {path: '${oc.env:HOME}/x.csv'}\n")
    config = compose(recipe, "data.path=mail.csv")
    assert config.plain["data"]["path"] == "mail.csv"
    config = compose(recipe, "data.train=mail.csv")
    assert config.plain["data"]["path"] is None


def test_mistakes_of_every_kind_are_told_at_once(refused):
    error = refused(
        "model=tiny/brt", "nonsense", "train.max_stps=3", "seed=x", "strategy.r=4", "strategy=lroa"
    )
    said = str(error)
    assert len(error.problems) == 5, error.problems
    for words in (
        "`tiny/bert`",
        "`nonsense` is no setting",
        "`train.max_steps`",
        "`seed`",
        "`lora`",
    ):
        assert words in said


def test_without_a_recipe_the_other_mistakes_are_told_too(monkeypatch):
    with pytest.raises(ConfigError) as caught:
        composing.compose(["train.max_stps=3", "strategy.r=4"], task_schema=tasks.find)
    assert len(caught.value.problems) == 2
    assert "recipe=NAME" in caught.value.problems[0]
    assert "`train.max_steps`" in caught.value.problems[1]


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("recipe=bert", "`bert/text_classification`"),
        ("recipe=text_classification", "`bert/text_classification`"),
        ("recipe=bert/text_clasification", "`bert/text_classification`"),
        ("recipe=./mine.yaml", "./recipes/NAME.yaml"),
        ("recipe=", "names nothing"),
        ("recipe=null", "must be the name of a choice"),
        ("recipe=[a]", "must be the name of a choice"),
    ],
)
def test_a_recipe_that_is_not_there_names_what_may_be_meant(argument, said, refused):
    error = refused(argument)
    assert error.exit_code == 2
    assert said in str(error)


def test_a_task_that_is_none_names_the_nearest(refused):
    assert "`text-classification`" in str(refused("task.tag=text-clasification"))
    assert refused("task.tag=text-clasification", "model.name_or_path=''").exit_code == 2


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "a b", "x" * 201, "a\nb", "é"])
def test_a_name_that_is_no_plain_folder_is_refused(name, refused):
    assert "`name`" in str(refused(f"name='{name}'"))


def test_a_recipe_with_an_odd_name_makes_a_plain_folder_name(own_recipe, compose):
    assert compose(own_recipe("team x/my (1)", EXTENDS)).name == "team-x-my-1-"


def test_composing_twice_gives_the_same(compose):
    assert compose().plain == compose().plain


def test_a_password_in_a_url_is_refused_unless_it_comes_from_a_variable(
    compose, refused, monkeypatch
):
    error = refused("recipe=bert/text_classification", "data.path=postgresql://me:secret@host/db")
    assert "secret" not in str(error)
    assert "FINETUNE_URL" in error.problems[0]
    monkeypatch.setenv("FINETUNE_URL", "postgresql://me:secret@host/db")
    config = compose("recipe=bert/text_classification", "data.path=${oc.env:FINETUNE_URL}")
    assert config.data.path == "postgresql://me:secret@host/db"
    assert "secret" not in str(config.plain)
