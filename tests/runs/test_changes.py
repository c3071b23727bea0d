"""Which settings make two attempts different runs, and how that is told."""

from __future__ import annotations

import dataclasses

import pytest

from finetune.config import names, schema
from finetune.errors import ConfigError
from finetune.runs import changes
from finetune.runs.changes import FREE, IRRELEVANT, Change, between, judge, settings, table


def mattering(old, new):
    return [tuple(c) for c in between(settings(old), settings(new)) if changes.matters(c.key)]


def test_keys_that_come_and_go_are_changes_too():
    assert mattering("a: {b: 1}\n", "a: {c: 2}\n") == [("a.b", 1, None), ("a.c", None, 2)]
    assert mattering("run: {dir: x}\n", "run: {dir: y}\n") == []


def test_where_a_run_is_kept_and_how_it_is_shown_are_no_changes():
    for section in IRRELEVANT:
        assert mattering(f"{section}: {{x: 1}}\n", f"{section}: {{x: 2}}\n") == []
    assert mattering("train: {x: 1}\n", "train: {x: 2}\n")


def test_what_decides_the_result_is_not_free():
    decisive = {
        "learning_rate", "global_batch_size", "num_train_epochs", "max_steps", "optim", "precision",
        "lr_scheduler_type", "warmup_ratio", "weight_decay", "max_grad_norm", "sampling",
        "eval_strategy", "eval_steps", "eval_max_rows", "early_stopping_patience",
        "load_best_model_at_end",
    }  # fmt: skip
    fields = {field.name for field in dataclasses.fields(schema.TrainConfig)}
    assert decisive <= fields
    assert not {f"train.{key}" for key in decisive} & FREE
    assert changes.matters("seed")


def test_free_keys_of_a_section_are_spelt_as_in_the_schema():
    planned = {"train.loss_spike", "train.dist_timeout"}  # other names of what is under way
    known = {key for keys in names.dotted_keys().values() for key in keys}
    assert {key for key in FREE - planned if key not in known and "train" not in key} == set()


def test_the_hash_is_of_what_matters_only():
    one = changes.digest({"seed": 1, "train.logging_steps": 1, "evaluate.x": 1})
    assert one == changes.digest({"seed": 1, "train.logging_steps": 9, "evaluate.x": 2})
    assert one != changes.digest({"seed": 2, "train.logging_steps": 1, "evaluate.x": 1})


def test_the_table_is_aligned_and_fits_a_terminal_and_long_values_stay_different():
    long = "a" * 200
    lines = table([
        Change("train.learning_rate", 5e-05, 0.0001),
        Change("data.path", long + "x" + long, long + "y" + long),
        Change("data: path:mail.csv", "sha256 " + "1" * 64, "sha256 " + "2" * 64),
    ])  # fmt: skip
    assert lines[0].split() == ["key", "was", "now"]
    assert max(map(len, lines)) <= 90
    column = lines[0].index("was")
    assert all(line[column - 2 : column] == "  " and line[column] != " " for line in lines)
    was, now = lines[2][column:].split()
    assert was != now
    assert "5e-05" in lines[1]


def test_the_rows_of_a_very_long_table_are_counted():
    lines = table([Change(f"data: path:{n}.txt", "a", "b") for n in range(1000)])
    assert len(lines) < 30
    assert lines[-1] == "… and 980 more"


def test_a_refusal_names_every_change_and_the_three_ways_out():
    with pytest.raises(ConfigError) as caught:
        judge(
            [Change("seed", 1, 2), Change("data: path:a.csv", "x", "y")],
            allow=["train.optim"], trained=True, where="runs/x",
        )  # fmt: skip
    [problem] = caught.value.problems
    assert "seed" in problem
    assert "path:a.csv" in problem
    for way in ("what it was", "name=NAME", "'run.allow_changes=[train.optim,seed,data]'"):
        assert way in caught.value.fix


@pytest.mark.parametrize("allow", ["train.learning_rate", "train"])
def test_a_key_or_its_group_is_allowed_but_no_other(allow):
    change = Change("train.learning_rate", 1, 2)
    assert judge([change], allow=[allow], trained=True, where="") == [change]
    with pytest.raises(ConfigError):
        judge([change, Change("train.optim", "a", "b")], allow=["train.learning_rate"],
              trained=True, where="")  # fmt: skip
    with pytest.raises(ConfigError):
        judge([Change("trainer", 1, 2)], allow=["train"], trained=True, where="")


@pytest.mark.parametrize(
    "key", ["task.max_length", "data.max_rows", "data.split.test", "strategy.r",
            "model: tokenizer.json"],
)  # fmt: skip
def test_what_shaped_rows_or_weights_is_settled_once_something_is_trained(key):
    change = Change(key, 1, 2)
    assert judge([change], allow=[change.name], trained=False, where="") == [change]
    with pytest.raises(ConfigError, match="trained already") as caught:
        judge([change], allow=[change.name], trained=True, where="")
    assert "allow_changes" not in caught.value.fix


@pytest.mark.parametrize(
    "key", ["data: path:a.csv", "data.path", "data.augment.steps", "strategy.learning_rate",
            "model: model.safetensors", "model.name_or_path", "seed", "train.optim"],
)  # fmt: skip
def test_what_leaves_rows_and_shapes_alone_can_be_allowed_later_too(key):
    change = Change(key, 1, 2)
    assert judge([change], allow=[change.name], trained=True, where="") == [change]


def test_a_permission_for_nothing_that_exists_is_refused_with_the_nearest():
    known = settings("train: {learning_rate: 1}\nseed: 2\n")
    changes.refuse_unknown(["train", "train.learning_rate", "seed", "data", "model"], known)
    with pytest.raises(ConfigError) as caught:
        changes.refuse_unknown(["train.learning_rte", "seed"], known)
    assert len(caught.value.problems) == 1
    assert "did you mean `train.learning_rate`" in caught.value.problems[0]


def test_later_stages_are_done_again_when_their_settings_change():
    export, score = Change("export.dtype", 1, 2), Change("evaluate.max_rows", 1, 2)
    assert changes.undone([export], [], trained=True) == {"export", "evaluate", "report"}
    assert changes.undone([score], [], trained=True) == {"evaluate", "report"}
    data = Change("data: path:a.csv", 1, 2)
    assert changes.undone([], [data], trained=False) == {"prepare"}
    assert changes.undone([], [data], trained=True) == set()
