"""What a run does without: adapters' tensors, keys and values, and activations where it must."""

from __future__ import annotations

import contextlib
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


def absorb_attention(config: RunConfig, trainer: TaskTrainer) -> dict[str, Any]:
    """Let few queries look at an encoder's states; return in how many layers, and why not."""
    from finetune.stages.frozen_parts import batch_of
    from finetune.stages.train import quiet_transformers
    from finetune.training import absorbed_search
    from finetune.training.unpadded import of_different_lengths

    count, against = 0, None
    asked = config.train.absorbed_attention
    if not asked:
        against = "train.absorbed_attention is false"
    elif asked == "auto" and trainer.args.device.type != "cpu":
        against = (
            "what it is worth was measured on CPUs alone; train.absorbed_attention=true does it"
        )
    elif trainer.is_sharded:
        against = "ranks share the model"
    elif not getattr(trainer.model.config, "is_encoder_decoder", False):
        against = "nothing in it looks at an encoder"
    elif trainer.without_padding is not contextlib.nullcontext and not trainer.task.lazy:
        against = "its encoder sees no padding"
    else:
        batch = batch_of(trainer, of_different_lengths(trainer.train_rows))
        precision = trainer.compute_loss_context_manager
        with quiet_transformers():
            count, against = absorbed_search.prepare(trainer.task, trainer.model, batch, precision)
    return {"absorbed_attention": count, "absorbed_because": against}


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
