"""Settings that cannot both hold are refused by the names of both."""

from __future__ import annotations

import ast
import inspect

import pytest

from finetune.config import contradictions

PAIRS = [
    (["model.name_or_path=''"], ["No base model is named"]),
    (["data.path=null"], ["No data is named"]),
    (["data.path=a.csv", "data.train=b.csv"], ["`data.path`", "`data.train`"]),
    (["data.path=a.csv", "data.test=b.csv"], ["`data.test`", "`data.train`"]),
    (["data.path=a.csv", "data.mix.x.path=b.csv"], ["`data.mix`", "`data.path`"]),
    (["data.split.train=0.9"], ["`data.split`", "1.2"]),
    (["train.eval_strategy=steps"], ["`train.eval_strategy=steps`", "`train.eval_steps`"]),
    (["train.eval_steps=5"], ["`train.eval_steps`", "`train.eval_strategy`"]),
    (
        ["train.early_stopping_patience=2", "train.eval_strategy=no"],
        ["`train.early_stopping_patience`", "`train.eval_strategy`"],
    ),
    (
        ["train.micro_batch_size=64", "train.global_batch_size=32"],
        ["`train.micro_batch_size`", "`train.global_batch_size`"],
    ),
    (
        ["recipe=clip/image_text", "train.global_batch_size=1"],
        ["`train.global_batch_size` is 1", "zero-shot-image-classification"],
    ),
    (["export.merge_base=dequantised"], ["`export.merge_base=dequantised`", "qlora"]),
    (["evaluate.goal.metric=accuracy"], ["`evaluate.goal.metric`", "`evaluate.goal.target`"]),
]


@pytest.mark.parametrize(("arguments", "said"), PAIRS, ids=lambda item: " ".join(item))
def test_a_pair_that_cannot_hold_is_refused_by_both_names(arguments, said, refused):
    error = refused(*arguments)
    assert error.exit_code == 2
    assert len(error.problems) == 1
    for words in said:
        assert words in error.problems[0]


def test_every_contradiction_there_is_has_its_pair_above():
    tree = ast.parse(inspect.getsource(contradictions))
    appended = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "append"
    ]
    assert len(appended) == len(PAIRS)


def test_all_contradictions_are_told_at_once(refused):
    error = refused("data.split.train=0.9", "train.eval_steps=5", "evaluate.goal.metric=f1")
    assert len(error.problems) == 3


def test_what_is_known_of_a_base_contradicts_too(refused):
    error = refused("model.train_defaults.lora.eval_strategy=steps")
    assert "`train.eval_steps`" in str(error)
