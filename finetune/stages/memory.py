"""What a run does without to take less memory: adapters' tensors, and activations where it must."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from finetune.config.schema import RunConfig

if TYPE_CHECKING:
    from torch import nn

    from finetune.training.trainer import TaskTrainer


def fuse_lora(config: RunConfig, model: nn.Module) -> dict[str, Any]:
    """Let LoRA layers add their adapters in place; return whether, and why none or not all do."""
    from finetune.training import fused_lora, sharding

    if not config.train.fused_lora:
        against: str | None = "train.fused_lora is false"
    elif sharding.is_asked_for():
        against = "ranks share the model"
    else:
        against = fused_lora.install(model)
    return {"fused_lora": fused_lora.is_on(model), "fused_lora_because": against}


def plan(config: RunConfig, trainer: TaskTrainer) -> dict[str, Any]:
    """Choose between keeping activations and computing them again, and return it.

    That they are computed again, which takes time, is said; that they fit is not.
    """
    from finetune.stages.train import quiet_transformers
    from finetune.training import memory_plan

    asked = config.train.gradient_checkpointing
    with quiet_transformers():
        found = memory_plan.settle(
            trainer,
            asked=asked,
            may_cut=config.train.micro_batch_size == "auto",
            optim=config.train.optim,
        )
    chosen = asked == "auto" and found.gradient_checkpointing
    if trainer.args.process_index == 0 and chosen:
        sys.stderr.write(f"   activations are computed again: {found.because}\n")
    return {"memory_plan": found.facts()}
