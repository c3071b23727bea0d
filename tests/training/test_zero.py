"""ZeRO's flat pieces: whole tensors out of them and back, steps, norms; with a stand-in engine."""

from __future__ import annotations

import math
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import nn
from transformers import TrainingArguments

from finetune.training.zero import Partitions, Stepping, Zero, put


class Engine(SimpleNamespace):
    """One rank of a ZeRO-2 engine: flat partitions, and calls that are noted."""

    def __init__(self, model, base):
        self.model, self.calls = model, []
        for group in base.param_groups:
            flat = torch.cat([weight.detach().flatten() for weight in group["params"]])
            group["weights"], group["params"] = group["params"], [flat]
        base.param_groups[:] = [
            {key: value for key, value in group.items() if key != "weights"}
            for group in base.param_groups
        ]
        inner = SimpleNamespace(
            optimizer=base,
            single_partition_of_fp32_groups=[group["params"][0] for group in base.param_groups],
            scaled_global_norm=lambda: self.norm,
        )
        super().__init__(optimizer=inner, norm=torch.tensor(3.0), model=model, calls=self.calls)

    def set_gradient_accumulation_boundary(self, last):
        self.calls.append(last)

    def backward(self, loss, *, scale_wrt_gas):
        assert not scale_wrt_gas
        loss.backward()

    def step(self):
        self.calls.append("step")


@pytest.fixture
def zero(monkeypatch, tmp_path):
    """A layout whose engine has two groups of weights, beside an empty one before wrapping."""
    model = nn.Linear(3, 2)
    plugin = SimpleNamespace(deepspeed_config={"zero_optimization": {"stage": 2}})
    trainer = SimpleNamespace(
        accelerator=SimpleNamespace(state=SimpleNamespace(deepspeed_plugin=plugin)),
        args=TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to=[]),
        stepper=SimpleNamespace(watch=SimpleNamespace(max_nonfinite_steps=0)),
        add_callback=lambda _: None,
        model=model,
        task=None,
        precision="fp32",
    )
    layout = Zero(trainer)
    base = torch.optim.AdamW(
        [
            {"params": [model.weight], "weight_decay": 0.1},
            {"params": [], "weight_decay": 0.5},
            {"params": [model.bias], "weight_decay": 0.0},
        ],
        lr=0.01,
    )
    layout.note(base)
    base.param_groups[:] = [group for group in base.param_groups if group["params"]]
    trainer.model_wrapped = Engine(model, base)
    flat_of = dict(
        zip(
            [id(model.weight), id(model.bias)],
            [group["params"][0] for group in base.param_groups],
            strict=True,
        )
    )
    utils = ModuleType("deepspeed.utils")
    utils.safe_get_full_fp32_param = lambda w: flat_of[id(w)].reshape(w.shape)
    utils.safe_get_full_optimizer_state = lambda w, key: base.state[flat_of[id(w)]][key].reshape(
        w.shape
    )
    utils.safe_set_full_optimizer_state = lambda w, value, key: base.state[flat_of[id(w)]][
        key
    ].copy_(value.flatten())
    utils.safe_set_local_optimizer_state = None
    monkeypatch.setitem(sys.modules, "deepspeed", ModuleType("deepspeed"))
    monkeypatch.setitem(sys.modules, "deepspeed.utils", utils)
    return layout


def test_the_engine_clips_and_divides_as_we_do_and_rounds_no_weights(zero):
    settings = zero.plugin.deepspeed_config
    zero.trainer.precision = "bf16"
    with zero.cutting():
        assert settings["gradient_accumulation_steps"] == 1
        assert settings["gradient_clipping"] == zero.trainer.args.max_grad_norm
        assert settings["bf16"] == {"enabled": False}
        assert settings["torch_autocast"]["enabled"]
        assert settings["torch_autocast"]["lower_precision_safe_modules"] == []
    with zero.precision():
        assert torch.is_autocast_enabled("cpu")
    zero.trainer.precision = "fp32"
    with zero.precision():
        assert not torch.is_autocast_enabled("cpu")


def test_state_has_the_form_of_one_process_with_the_group_that_is_empty(zero):
    alone = nn.Linear(3, 2)
    one = torch.optim.AdamW(
        [
            {"params": [alone.weight], "weight_decay": 0.1},
            {"params": [], "weight_decay": 0.5},
            {"params": [alone.bias], "weight_decay": 0.0},
        ],
        lr=0.01,
    )
    for _ in range(2):
        alone(torch.ones(1, 3)).sum().backward()
        one.step()
    before = one.state_dict()
    for group in before["param_groups"]:
        group.update(lr=0.005, initial_lr=0.01)
    zero.take_up(before, None)
    after = zero.moments(None, keep=True)
    assert [group["params"] for group in after["param_groups"]] == [[0], [], [1]]
    assert [group["weight_decay"] for group in after["param_groups"]] == [0.1, 0.5, 0.0]
    assert [group["lr"] for group in after["param_groups"]] == [0.005] * 3
    assert [group["initial_lr"] for group in after["param_groups"]] == [0.01] * 3
    assert set(after["state"]) == set(before["state"])
    for number, values in before["state"].items():
        for key, value in values.items():
            assert torch.equal(after["state"][number][key], value), key
    assert zero.moments(None, keep=False) == {}


def test_an_empty_group_learns_at_the_rate_of_the_others(zero):
    """The schedule sets it in the groups that DeepSpeed has kept, and a resumed run asks for it."""
    for group in zero.engine.optimizer.optimizer.param_groups:
        group.update(lr=0.002, initial_lr=0.01)
    for group in zero.moments(None, keep=True)["param_groups"]:
        assert (group["lr"], group["initial_lr"]) == (0.002, 0.01)


def test_weights_come_out_whole_and_frozen_ones_not(zero):
    zero.trainer.model.register_buffer("seen", torch.ones(1))
    found = zero.weights(zero.trainer.model, keep=True)
    assert set(found) == {"weight", "bias", "seen"}
    zero.trainer.model.bias.requires_grad_(False)
    assert set(zero.weights(zero.trainer.model, keep=True)) == {"weight", "seen"}
    assert zero.weights(zero.trainer.model, keep=False) == {}


def test_a_step_is_taken_once_and_only_after_a_last_micro_batch(zero):
    exchange, engine = Partitions(zero), zero.engine
    control = Stepping(zero)
    control.on_optimizer_step(None, None, None)  # a batch that was left out
    assert engine.calls == []
    assert not zero.has_gradient(engine.model)
    for last in (False, True):
        exchange.backward(engine.model(torch.ones(1, 3)).sum(), last=last)
        assert zero.has_gradient(engine.model) is last
    assert sorted(zero.used) == [0, 0, 1, 1]
    exchange.finish()
    assert zero.used == []
    control.on_optimizer_step(None, None, None)
    control.on_optimizer_step(None, None, None)
    assert engine.calls == [False, True, "step"]


def test_a_norm_that_deepspeed_calls_invalid_is_infinite(zero):
    assert zero.norm(None) == 3
    zero.engine.norm = torch.tensor(-1.0)
    assert zero.norm(None) == math.inf


@pytest.mark.parametrize(("rank", "part"), [(0, [0, 1, 2]), (1, [3, 4, 0])])
def test_a_rank_of_stage_3_takes_its_part_of_a_moment_padded_to_one_length(zero, rank, part):
    taken = []
    utils = sys.modules["deepspeed.utils"]
    utils.safe_set_local_optimizer_state = lambda _, value, key: taken.append((value.tolist(), key))
    weight = SimpleNamespace(ds_tensor=torch.zeros(3))
    args = SimpleNamespace(world_size=2, process_index=rank)
    put(weight, torch.arange(5.0), "exp_avg", args)
    assert taken == [(part, "exp_avg")]
