"""What is not proven under DeepSpeed, and is refused instead of done otherwise than asked."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from finetune.errors import ConfigError, DistributedError
from finetune.tasks.base import CoupledTask, Task
from finetune.training import ranks
from finetune.training.sharded import WHOLE

if TYPE_CHECKING:
    from torch import nn

OPTIMIZERS = ("adamw_torch", "adamw_torch_fused")
"""Those whose arithmetic goes weight by weight, so that flat pieces come to the same."""

SETTINGS = {
    *("zero_optimization", "train_batch_size", "train_micro_batch_size_per_gpu"),
    *("gradient_accumulation_steps", "gradient_clipping", "steps_per_print", "fp16", "bf16"),
    *("zero_allow_untested_optimizer", "wall_clock_breakdown", "memory_breakdown"),
}
"""Keys of DeepSpeed's configuration that are proven here, or that we set."""

STAGE_SETTINGS = {
    *("stage", "offload_optimizer", "offload_param", "contiguous_gradients", "reduce_scatter"),
    *("reduce_bucket_size", "allgather_partitions", "allgather_bucket_size", "overlap_comm"),
    *("sub_group_size", "stage3_gather_16bit_weights_on_model_save"),
    *("stage3_max_live_parameters", "stage3_max_reuse_distance", "stage3_prefetch_bucket_size"),
    *("stage3_param_persistence_threshold", "stage3_model_persistence_threshold"),
}
"""Keys of its part `zero_optimization` that change speed and memory, and no result."""


def refuse_settings(settings: Mapping[str, Any]) -> None:
    """Refuse what is not proven of DeepSpeed's configuration.

    Args:
        settings: The whole configuration.

    Raises:
        ConfigError: A key is unknown here, moves things off the device, or another stage is meant.
    """
    stage = settings.get("zero_optimization", {})
    strange = sorted(
        [key for key in settings if key not in SETTINGS]
        + [f"zero_optimization.{key}" for key in stage if key not in STAGE_SETTINGS]
    )
    if strange:
        raise ConfigError(
            f"DeepSpeed's configuration holds `{strange[0]}`, which isn't supported.",
            fix="Leave it out; conf/accelerate/zero2.yaml and zero3.yaml work as they are. "
            "Optimiser, schedule, precision and batch are keys of `train`.",
        )
    for part in ("offload_optimizer", "offload_param"):
        device = (stage.get(part) or {}).get("device") or "none"
        if device != "none":
            raise ConfigError(
                f"DeepSpeed's configuration sets {part} to `{device}`, which isn't supported.",
                fix=f"Set {part}_device: none. What saves more memory: "
                "train.gradient_checkpointing=true, or strategy=lora or qlora.",
            )
    if stage.get("stage") not in (2, 3):
        raise ConfigError(
            f"DeepSpeed's configuration asks for ZeRO stage {stage.get('stage')}; "
            "2 and 3 are supported.",
            fix="Launch with conf/accelerate/zero2.yaml or zero3.yaml.",
        )


def refuse_model(model: nn.Module, task: Task) -> None:
    """Refuse models and tasks that DeepSpeed can't take, or of which it may make something else.

    Args:
        model: As it will be trained.
        task: What it is trained for.

    Raises:
        ConfigError: Layers are quantised to 8 bits; the loss itself reads weights, beside the
            model; or a weight is a single number, of which DeepSpeed sees no bytes.
    """
    if any(type(weight).__name__ == "Int8Params" for weight in model.parameters()):
        raise ConfigError(
            "DeepSpeed can't share out 8-bit layers (strategy.quantization.bits=8).",
            fix=f"Set strategy.quantization.bits=4. Or: {WHOLE}",
        )
    if isinstance(task, CoupledTask):
        raise ConfigError(
            "Contrastive training isn't supported under DeepSpeed: its loss reads weights itself.",
            fix=WHOLE,
        )
    single = [name for name, weight in model.named_parameters() if weight.dim() == 0]
    if single:
        raise ConfigError(
            f"DeepSpeed can't take this model: its weight `{single[0]}` is a single number.",
            fix=WHOLE,
        )


def refuse_training(optimizer: str, *, precision: str, left_out: int) -> None:
    """Refuse settings of a run that would mean something else under ZeRO.

    Args:
        optimizer: transformers' name of it.
        precision: fp32, bf16 or fp16.
        left_out: How many batches may be left out because of their numbers.

    Raises:
        ConfigError: One of them is not supported.
    """
    if optimizer not in OPTIMIZERS:
        raise ConfigError(
            f"DeepSpeed can't share out the state of `train.optim={optimizer}`.",
            fix=f"Set train.optim={OPTIMIZERS[1]}. Or: {WHOLE}",
        )
    if precision == "fp16":
        raise ConfigError(
            "`train.precision=fp16` isn't supported under DeepSpeed.",
            fix="Set train.precision=bf16 or fp32, or launch with conf/accelerate/fsdp2.yaml.",
        )
    if left_out:
        raise ConfigError(
            f"`train.max_nonfinite_steps={left_out}` isn't supported under DeepSpeed: "
            "a gradient that it has begun to exchange can't be left out.",
            fix=f"Set train.max_nonfinite_steps=0. Or: {WHOLE}",
        )


def refuse_unlike(used: list[int], world: int) -> None:
    """Refuse a step in which ranks used different weights: sums of unlike ones would be mixed up.

    Args:
        used: Numbers of this rank's weights that got a gradient, in this order.
        world: Number of ranks.

    Raises:
        DistributedError: Another rank's are others.
    """
    digest = hashlib.sha256(repr(used).encode()).hexdigest()
    if len(set(ranks.gathered(digest, world))) > 1:
        raise DistributedError(
            "Ranks used different weights of the model in one step, "
            "whose gradients DeepSpeed would mix up; no weight was changed by it.",
            fix=WHOLE,
        )
