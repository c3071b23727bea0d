"""A configuration is data: no key runs code, no value reads more than a few variables."""

from __future__ import annotations

import pytest

from finetune.config.refusals import FORBIDDEN, refuse, refuse_resolvers
from finetune.errors import ArtefactError, ConfigError

EXTENDS = "defaults: [bert/text_classification]\n"


def touching(canary) -> str:
    return f"{{_target_: pathlib.Path.touch, _args_: ['{canary}']}}"


@pytest.mark.parametrize(
    "content",
    [
        "train: {target}",
        "task: {{options: {target}}}",
        "tracking: {{report_to: [{target}]}}",
        "data: {{columns: {{text: [[{target}]]}}}}",
        "x: {target}",
        "defaults: [bert/text_classification, {{model: tiny/bert}}]\nx: {target}",
        "hydra: {{launcher: {target}}}",
        "hydra.launcher._target_: os.system",
        "hydra: {{run: {{dir: /tmp}}}}",
        "defaults: [{{override /hydra/launcher: basic}}]",
        "defaults: [{{override hydra/job_logging: none}}]",
    ],
)
def test_code_in_a_recipe_is_refused_and_never_runs(content, own_recipe, refused, tmp_path):
    canary = tmp_path / "canary"
    text = content.format(target=touching(canary))
    error = refused(own_recipe("mine", text if "defaults" in text else EXTENDS + text))
    assert isinstance(error, ArtefactError)
    assert error.exit_code == 4
    assert not canary.exists()


def test_code_in_a_recipe_that_is_extended_is_refused(own_recipe, refused, tmp_path):
    canary = tmp_path / "canary"
    own_recipe("evil", f"{EXTENDS}train: {touching(canary)}")
    error = refused(own_recipe("mine", "defaults: [evil]"))
    assert error.exit_code == 4
    assert not canary.exists()


@pytest.mark.parametrize("key", FORBIDDEN)
def test_every_key_that_names_code_is_refused(key):
    with pytest.raises(ArtefactError):
        refuse({"train": [{"a": {key: "os.system"}}]})


@pytest.mark.parametrize(
    "argument",
    [
        "train._target_=x",
        "+data.columns._target_=x",
        "++_target_=x",
        "train={_target_: x}",
        "data.slices=[{a: {_target_: x}}]",
        "model={_target_: x}",
    ],
)
def test_code_on_the_command_line_is_refused(argument, refused):
    assert refused(argument).exit_code == 4


@pytest.mark.parametrize("argument", ["hydra.run.dir=x", "hydra/launcher=x", "+hydra.x=1"])
def test_hydras_own_settings_are_refused_on_the_command_line(argument, refused):
    assert refused(argument).exit_code == 4


@pytest.mark.parametrize(
    "value",
    [
        "${oc.env:SECRET_CANARY}",
        "${oc.env:SECRET_CANARY,default}",
        "${ oc.env : SECRET_CANARY }",
        "x${oc.env:FINETUNE_A,${oc.env:SECRET_CANARY}}",
        "${oc.env:${x}}",
        "${${x}:SECRET_CANARY}",
        "${oc.${x}:SECRET_CANARY}",
        "${oc.decode:'1'}",
        "${oc.create:{a: 1}}",
        "${oc.select:seed}",
        "${oc.dict.values:train}",
        "${hydra:runtime.cwd}",
        "${now:%Y}",
        "${python_version:}",
        "${unknown:1}",
        "${x:y",
        "${" * 4000,
    ],
)
def test_any_resolver_but_the_allowed_one_is_refused(value):
    with pytest.raises(ConfigError):
        refuse_resolvers(value)


@pytest.mark.parametrize(
    "value",
    ["", "plain", "{title}\n{body}", "$5", "${oc.env:HOME}", "${oc.env:FINETUNE_X}", "a\\${b:c}",
     "${train.seed}", "${oc.env:FINETUNE_X,fallback}"],
)  # fmt: skip
def test_text_and_allowed_variables_pass(value):
    refuse_resolvers(value)
    refuse({"a": [{"b": value}]})


def test_a_resolver_hidden_by_an_interpolated_name_reads_no_variable(
    own_recipe, refused, monkeypatch
):
    monkeypatch.setenv("SECRET_CANARY", "canary-value")
    content = EXTENDS + 'x: oc.env\nname: "${${x}:SECRET_CANARY}"\n'
    error = refused(own_recipe("mine", content))
    assert error.exit_code == 2
    assert "canary-value" not in str(error)


def test_a_resolver_in_the_defaults_list_reads_no_variable(own_recipe, refused, monkeypatch):
    monkeypatch.setenv("SECRET_CANARY", "canary-value")
    error = refused(own_recipe("mine", "defaults: [{model: '${oc.env:SECRET_CANARY}'}]"))
    assert error.exit_code == 2
    assert "canary-value" not in str(error)


def test_values_that_refer_to_each_other_in_a_circle_are_refused(own_recipe, refused):
    error = refused(own_recipe("mine", EXTENDS + "name: ${data.name}\ndata: {name: '${name}'}\n"))
    assert error.exit_code == 2
    assert "cannot be resolved" in str(error)


def test_a_missing_variable_is_named(refused, monkeypatch):
    monkeypatch.delenv("FINETUNE_NONE", raising=False)
    assert "FINETUNE_NONE" in str(refused("data.path=${oc.env:FINETUNE_NONE}"))
