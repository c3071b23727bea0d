"""Which layout a launch gets, and what a plain one answers."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from finetune.training import layout
from finetune.training.exchange import Copies, Shards


def trainer(**more):
    plugin = SimpleNamespace(transformer_cls_names_to_wrap=None)
    return SimpleNamespace(
        is_deepspeed_enabled=False, is_fsdp_enabled=False,
        accelerator=SimpleNamespace(state=SimpleNamespace(fsdp_plugin=plugin)),
        args=SimpleNamespace(world_size=2, optim=SimpleNamespace(value="adamw_torch")),
        model=nn.Linear(2, 2), **more,
    )  # fmt: skip


def test_the_launch_decides():
    one = trainer()
    assert type(layout.of(one)) is layout.Whole
    one.is_fsdp_enabled = True
    found = layout.of(one)
    assert type(found) is layout.Fsdp
    assert one.accelerator.state.fsdp_plugin.transformer_cls_names_to_wrap == []
    assert not found.is_whole
    assert isinstance(found.exchange(one.model), Shards)


def test_deepspeed_comes_before_all_else(monkeypatch):
    monkeypatch.setattr(layout, "Zero", lambda _: "shared out")
    one = trainer()
    one.is_deepspeed_enabled = True
    assert layout.of(one) == "shared out"


def test_a_whole_model_is_asked_for_nothing():
    one = trainer()
    whole = layout.Whole(one)
    assert isinstance(whole.exchange(one.model), Copies)
    assert whole.precision() is None
    assert whole.weights(one.model, keep=True) is None
    assert whole.norm(2.5) == 2.5
    assert not whole.has_gradient(one.model)
    one.model(torch.ones(1, 2)).sum().backward()
    assert whole.has_gradient(one.model)
    with whole.cutting():
        whole.note(None)
    whole.leave()


@pytest.mark.parametrize("kind", [layout.Whole, layout.Fsdp])
def test_an_optimisers_state_comes_out_and_goes_back(kind):
    one = trainer()
    found = kind(one)
    weights = nn.Parameter(torch.ones(3))
    first = torch.optim.AdamW([weights], lr=0.1)
    weights.grad = torch.ones(3)
    first.step()
    state = found.moments(first, keep=True)
    second = torch.optim.AdamW([weights], lr=0.5)
    found.take_up(state, second)
    assert second.state[weights]["exp_avg"].tolist() == first.state[weights]["exp_avg"].tolist()
    assert second.param_groups[0]["lr"] == 0.1
