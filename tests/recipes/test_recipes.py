"""Every recipe and every base model that is on disk: composes, and trains on a minute base."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from finetune import cli
from finetune.config import places
from tests.contracts.cases import RECIPES
from tests.stages.finished import QUICK, say

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(places.recipe_names())
MODELS = sorted(
    file.relative_to(ROOT / "conf" / "model").with_suffix("").as_posix()
    for file in (ROOT / "conf" / "model").rglob("*.yaml")
)
FAMILY = {tag: model for tag, (_, model) in RECIPES.items()}
"""Tag → minute base."""
LIKE = {"translation": "text2text-generation", "summarization": "text2text-generation"}
OWN_DATA = {
    "text-classification": "text,label,category\n"
    + "".join(f"a text about {w} {n},{w},{w}\n" for n in range(20) for w in ("tea", "ink")),
}
"""What a recipe without a sample is tried on, by tag."""


ANY_DATA = "data.path=rows.csv"
"""For composing a recipe that has no sample; nothing is read."""


def compose(name, *overrides):
    """Compose a recipe, whether it has a sample or asks for the user's own data."""
    return cli.compose([f"recipe={name}", *overrides, *([] if has_sample(name) else [ANY_DATA])])


def has_sample(name) -> bool:
    """Tell whether a recipe brings its data."""
    text = (ROOT / "recipes" / f"{name}.yaml").read_text("utf-8")
    return "/data: sample/" in text


def base_for(config) -> str:
    """Return the minute base of a recipe's family."""
    tag = config.task.tag
    return FAMILY[LIKE.get(tag, tag)]


def test_there_are_recipes_and_models():
    assert len(NAMES) >= 6
    assert len(MODELS) >= 10


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_composes_and_says_what_it_is(name):
    config = compose(name)
    assert config.recipe == name
    file = ROOT / "recipes" / f"{name}.yaml"
    first, second = file.read_text("utf-8").splitlines()[:2]
    assert first.startswith("# ")
    verb = "" if config.task.trains else "prepare "
    assert f"python -m finetune {verb}recipe={name}" in second
    yaml.safe_load(file.read_text("utf-8"))


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_composes_with_every_strategy(name):
    for strategy in ("full", "lora", "qlora"):
        assert compose(name, f"strategy={strategy}").strategy.name == strategy


@pytest.mark.parametrize("model", MODELS)
def test_a_base_model_composes_and_has_its_facts(model):
    config = compose("quickstart", f"model={model}")
    assert config.model.name_or_path
    assert config.model.license
    if not config.model.name_or_path.startswith("package:"):
        assert config.model.revision, "a hub model is pinned"


def trained(name, folder, *more):
    """Run a recipe for two steps on the minute base of its family."""
    config = compose(name)
    options = [f"model={base_for(config)}", f"run.dir={folder}", "name=case", *QUICK]
    options += ["train.max_steps=2", *more]
    if not has_sample(name):
        file = folder / "own.csv"
        file.write_text(OWN_DATA[config.task.tag])
        options += [f"data.path={file}", "data.split={train: 0.6, validation: 0.2, test: 0.2}"]
    said = say(f"recipe={name}", *options)
    assert said.code == 0, said.err
    return folder / "case"


def trains(name) -> bool:
    """Tell whether a recipe trains: one for data alone is said to be prepared."""
    return "finetune prepare" not in (ROOT / "recipes" / f"{name}.yaml").read_text("utf-8")


SLOW = [
    pytest.param(name, marks=() if name == "quickstart" else pytest.mark.slow)
    for name in NAMES
    if trains(name)
]


@pytest.mark.parametrize("name", SLOW)
def test_a_recipe_runs_to_its_report_on_the_minute_base(name, tmp_path):
    run = trained(name, tmp_path)
    assert (run / "report.html").is_file()
    assert list((run / "merged").glob("**/model.safetensors"))


@pytest.mark.slow
@pytest.mark.parametrize("tag", sorted(RECIPES))
@pytest.mark.parametrize("strategy", ["full", "qlora"])
def test_every_family_runs_with_every_strategy(tag, strategy, tmp_path):
    run = trained(RECIPES[tag][0], tmp_path, f"strategy={strategy}")
    assert (run / "report.html").is_file()
    assert (run / "adapter").is_dir() == (strategy != "full")
