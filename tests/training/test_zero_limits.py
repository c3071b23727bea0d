"""What DeepSpeed isn't asked to do, and what is said instead."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from finetune.errors import ConfigError, DistributedError
from finetune.tasks.zero_shot_image_classification import ZeroShotImageClassification
from finetune.training import zero_limits

PLAIN = {
    "train_batch_size": "auto",
    "zero_optimization": {
        "stage": 3,
        "offload_optimizer": {"device": "none", "nvme_path": None},
        "offload_param": {"device": None},
    },
}


def changed(**stage):
    return {**PLAIN, "zero_optimization": {**PLAIN["zero_optimization"], **stage}}


def test_accelerates_own_settings_of_both_stages_are_taken():
    zero_limits.refuse_settings(PLAIN)
    zero_limits.refuse_settings(changed(stage=2))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({**PLAIN, "optimizer": {"type": "Lion"}}, "`optimizer`"),
        ({**PLAIN, "scheduler": {}}, "`scheduler`"),
        ({**PLAIN, "tensor_parallel": {"autotp_size": 2}}, "`tensor_parallel`"),
        (changed(zero_quantized_weights=True), "`zero_optimization.zero_quantized_weights`"),
        (changed(offload_param={"device": "cpu"}), "offload_param to `cpu`"),
        (changed(offload_optimizer={"device": "nvme"}), "offload_optimizer to `nvme`"),
        (changed(stage=1), "stage 1"),
        ({}, "stage None"),
    ],
)
def test_a_setting_that_is_not_proven_is_named_with_what_to_do(settings, named):
    with pytest.raises(ConfigError, match=named) as caught:
        zero_limits.refuse_settings(settings)
    assert caught.value.fix


@pytest.mark.parametrize(
    ("optimizer", "precision", "left_out", "named"),
    [
        ("adafactor", "fp32", 0, "train.optim=adafactor"),
        ("sgd", "bf16", 0, "train.optim=sgd"),
        ("adamw_8bit", "fp32", 0, "train.optim=adamw_8bit"),
        ("adamw_torch", "fp16", 0, "train.precision=fp16"),
        ("adamw_torch_fused", "fp32", 2, "train.max_nonfinite_steps=2"),
    ],
)
def test_training_that_would_mean_something_else_is_refused(optimizer, precision, left_out, named):
    with pytest.raises(ConfigError, match=named) as caught:
        zero_limits.refuse_training(optimizer, precision=precision, left_out=left_out)
    assert caught.value.fix
    zero_limits.refuse_training("adamw_torch_fused", precision="bf16", left_out=0)


class Int8Params(nn.Parameter):
    """Stands for bitsandbytes' own, which is known by its name."""


class Temperature(nn.Module):
    def __init__(self):
        super().__init__()
        self.temperature = nn.Parameter(torch.tensor(1.0))


def test_layers_of_8_bits_are_refused():
    model = nn.Linear(2, 2)
    model.weight = Int8Params(torch.ones(2, 2))
    with pytest.raises(ConfigError, match="8-bit layers"):
        zero_limits.refuse_model(model, None)


def test_what_deepspeed_cannot_take_is_left_to_whole_copies():
    with pytest.raises(ConfigError, match="`temperature` is a single number") as caught:
        zero_limits.refuse_model(Temperature(), None)
    assert "ddp.yaml" in caught.value.fix
    with pytest.raises(ConfigError, match="its loss reads weights"):
        zero_limits.refuse_model(nn.Linear(2, 2), ZeroShotImageClassification())
    zero_limits.refuse_model(nn.Linear(2, 2), None)


def test_ranks_that_used_other_weights_stop_before_the_step(monkeypatch):
    others = []
    monkeypatch.setattr(
        zero_limits.ranks, "gathered", lambda own, world: [own, *(others or [own])][:world]
    )
    zero_limits.refuse_unlike([2, 1, 0], 2)
    others.append("another digest")
    with pytest.raises(DistributedError, match="different weights") as caught:
        zero_limits.refuse_unlike([2, 1, 0], 2)
    assert "ddp.yaml" in caught.value.fix
