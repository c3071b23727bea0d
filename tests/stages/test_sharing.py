"""Sharing prompts is offered to tasks of pairs, and what comes of it is said."""

from __future__ import annotations

from types import SimpleNamespace

from finetune.stages import sharing


def test_a_task_without_pairs_is_left_alone():
    trainer = SimpleNamespace(task=object())
    assert sharing.share_prompts(trainer, None) == {}


def test_layers_that_see_padding_see_copies_too_and_say_why():
    trainer = SimpleNamespace(task=SimpleNamespace(share_prompt=True))
    wanted = {"prompt_shared": False, "prompt_because": "ranks share the model"}
    assert sharing.share_prompts(trainer, "ranks share the model") == wanted
