"""`-m`: every combination once, with names that are valid, distinct and the same each time."""

from __future__ import annotations

import re

import pytest

from finetune.config import places
from finetune.config.sweep import combinations
from finetune.errors import ConfigError

BASE = "recipe=bert/text_classification"


def names(*arguments):
    return [job[-1].removeprefix("name=").strip("'") for job in combinations(arguments)]


def test_every_combination_runs_once_under_a_name_that_tells_it():
    assert names(BASE, "seed=1,2", "strategy=full,lora") == [
        "bert-text_classification,seed=1,strategy=full",
        "bert-text_classification,seed=1,strategy=lora",
        "bert-text_classification,seed=2,strategy=full",
        "bert-text_classification,seed=2,strategy=lora",
    ]


def test_a_glob_runs_every_recipe_and_each_composes_under_its_name(compose, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    jobs = combinations(["recipe=glob(gpt/*)", "data.path=rows.csv"])
    assert len(jobs) == len([name for name in places.recipe_names() if name.startswith("gpt/")]) > 1
    for job in jobs:
        config = compose(*job)
        assert config.name == config.recipe.replace("/", "-")


@pytest.mark.parametrize(
    "swept",
    ["seed=range(1,4)", "data.path='a b.csv','c/d.csv'", "train.learning_rate=1e-3,1e-4",
     "task.max_length=null,64", "data.slices=[a,b],[c]", "model=glob(tiny/*)"],
)  # fmt: skip
def test_names_are_valid_distinct_and_the_same_each_time(swept, compose):
    found = names(BASE, swept)
    assert found == names(BASE, swept)
    assert len(set(found)) == len(found) > 1
    for name, job in zip(found, combinations([BASE, swept]), strict=True):
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._=,+-]{0,199}", name)
        assert compose(*job).name == name


def test_a_users_own_name_leads_the_names():
    assert names(BASE, "name=trial", "seed=1,2") == ["trial,seed=1", "trial,seed=2"]


def test_long_or_alike_values_still_give_distinct_names():
    long = ",".join(f"{'x' * 250}{number}" for number in range(3))
    assert len(set(names(BASE, f"data.revision={long}"))) == 3
    assert len(set(names(BASE, "data.path='a b','a_b'"))) == 2


def test_one_combination_keeps_its_own_name():
    assert combinations([BASE, "seed=1"]) == [[BASE, "seed=1"]]


def test_a_sweep_over_nothing_is_refused():
    with pytest.raises(ConfigError, match="no values"):
        combinations([BASE, "model=glob(nothing*)"])
    with pytest.raises(ConfigError, match="no values"):
        combinations([BASE, "seed=interval(1,5)"])
