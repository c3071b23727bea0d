"""Our settings as transformers' TrainingArguments."""

from __future__ import annotations

import importlib.util
import math
import os
from typing import Any

from finetune.config.schema import RunConfig
from finetune.errors import ConfigError
from finetune.runs import storage
from finetune.runs.folder import RunFolder
from finetune.stages import rows
from finetune.stages.devices import Device
from finetune.tasks.base import Task

PACKAGES = {"comet_ml": "comet_ml", "tensorboard": "tensorboard", "mlflow": "mlflow"}


def training_arguments(run: RunFolder, config: RunConfig, task: Task, device: Device) -> Any:
    """Return transformers' arguments for our settings."""
    from transformers import TrainingArguments

    from finetune.training import sharding

    settings = config.train
    evaluates = settings.eval_strategy != "no" and has_validation(run)
    strategy_name = settings.eval_strategy if evaluates else "no"
    on_cpu = device.name == "cpu"
    zero = sharding.is_set("ACCELERATE_USE_DEEPSPEED")
    if zero:
        sharding.refuse_without_deepspeed()
    if on_cpu and sharding.is_asked_for():
        sharding.heed_on_cpu()
        on_cpu = False
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(run.path / "logs" / "tensorboard")
    values: dict[str, Any] = {
        "output_dir": str(run.checkpoints),
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 1,
        "num_train_epochs": settings.num_train_epochs,
        "max_steps": settings.max_steps or -1,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": settings.lr_scheduler_type,
        "warmup_steps": warmup_steps(config, run),
        "weight_decay": settings.weight_decay,
        "max_grad_norm": settings.max_grad_norm,
        "optim": settings.optim,
        "bf16": device.precision == "bf16" and not zero,  # it would round the weights themselves;
        "fp16": device.precision == "fp16" and not zero,  # `training.zero` computes in bf16 instead
        "use_cpu": on_cpu,
        "logging_strategy": "steps",
        "logging_steps": settings.logging_steps,
        "logging_nan_inf_filter": False,
        "eval_strategy": strategy_name,
        "eval_steps": settings.eval_steps,
        "save_strategy": "no",  # `Saving` and `Interruption` ask for checkpoints
        "save_total_limit": settings.save_total_limit,
        "metric_for_best_model": f"eval_{task.primary}" if evaluates else None,
        "greater_is_better": task.greater_is_better if evaluates else None,
        "seed": config.seed,
        "report_to": trackers(config.tracking.report_to),
        "run_name": config.name,
        "remove_unused_columns": False,
        "disable_tqdm": True,
        "ddp_timeout": math.ceil(settings.dist_timeout),
        "ddp_find_unused_parameters": False,  # gradients are added up by `exchange`
        "ddp_broadcast_buffers": False,  # ranks do nothing together within a pass
        "log_level": "error",
        "log_level_replica": "error",
        "label_names": [],
        "restore_callback_states_from_checkpoint": True,  # the patience of early stopping
    }
    return TrainingArguments(**values)


def warmup_steps(config: RunConfig, run: RunFolder) -> int:
    """Return how many steps the learning rate rises over, rounded down; one alone is none.

    A schedule of transformers begins a warm-up with learning rate 0, so that one of a single step
    would rise over nothing and waste a batch, and a run of one step would learn nothing.
    """
    settings = config.train
    per_epoch = -(-rows.of_an_epoch(run, config) // settings.global_batch_size)
    steps = settings.max_steps or math.ceil((settings.num_train_epochs or 1) * per_epoch)
    rising = int(settings.warmup_ratio * steps)
    return rising if rising > 1 else 0


def has_validation(run: RunFolder) -> bool:
    """Tell whether the validation split has rows."""
    return bool(storage.read_json(run.data / "audit.json")["splits"].get("validation"))


def trackers(names: list[Any]) -> list[str]:
    """Return the trackers, refusing those whose package is not installed."""
    for name in names:
        if importlib.util.find_spec(PACKAGES.get(name, name)) is None:
            raise ConfigError(
                f"`tracking.report_to` names {name}, which is not installed.",
                fix=f"Run `pip install {name}`, or leave it out with tracking.report_to=[].",
            )
    return list(names)
