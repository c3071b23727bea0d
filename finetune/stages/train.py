"""Train: the prepared rows, the base model and the strategy to a checkpoint that is kept."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import math
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.config.schema import RunConfig
from finetune.errors import ConfigError
from finetune.models import load as loading
from finetune.models import strategy
from finetune.models.source import BaseModel
from finetune.runs import identity, storage
from finetune.runs.folder import RunFolder
from finetune.stages import augmentation, base_model, devices, rows
from finetune.stages.devices import Device
from finetune.tasks.base import Task

if TYPE_CHECKING:
    from torch import nn

    from finetune.training.trainer import TaskTrainer

logger = logging.getLogger(__name__)
CPU_MICRO_BATCH = 32
"""Larger micro-batches don't compute faster on a CPU and take more memory."""
SAVE_FILE = "SAVE"
"""A file of this name in the run folder asks for a checkpoint."""
PACKAGES = {"comet_ml": "comet_ml", "tensorboard": "tensorboard", "mlflow": "mlflow"}


def train(run: RunFolder, config: RunConfig, base: BaseModel) -> dict[str, Any]:
    """Train and return facts for the manifest; the checkpoint to keep is among them.

    Raises:
        NumericsError: Loss or gradient is not finite, or memory ran out.
    """
    from finetune.training.interruption import Interruption

    task: Task = config.task
    device = devices.choose(config.train.device, config.train.precision)
    audit = storage.read_json(run.data / "audit.json")
    task.load_processor(base.folder)
    task.learn(audit)
    # Weights that are trained stay in fp32: steps smaller than bfloat16's spacing would be lost.
    dtype = "float32" if config.strategy.peft_type is None else device.frozen_weights
    loaded = task.load_model(
        base.folder,
        base_model.options(config, device=device.name, dtype=dtype, quantized=True),
    )
    dropout = loading.dropout_of(loaded.model.config)
    model = apply_strategy(config, loaded)
    interruption = Interruption(
        file=run.path / SAVE_FILE,
        max_hours=config.train.max_hours,
        save_minutes=config.train.save_minutes,
    )
    trainer = make_trainer(run, config, task, model, device, callbacks=[interruption])
    with quiet_transformers(), interruption.watching():
        optimise(trainer, resumable(run, config))
    interruption.raise_if_asked(trainer.state.global_step)
    state = trainer.state
    best = (
        state.best_global_step
        if config.train.load_best_model_at_end and state.best_global_step
        else None
    )
    return {
        "steps": state.global_step,
        "epochs": round(float(state.epoch or 0), 3),
        "best_step": state.best_global_step or None,
        "kept": f"step-{best or state.global_step}",
        "stopped_early": state.global_step < state.max_steps,
        "global_batch_size": config.train.global_batch_size,
        "micro_batch_size": trainer.micro_batch_size,
        "gradient_accumulation_steps": -(
            -config.train.global_batch_size // (trainer.micro_batch_size * trainer.args.world_size)
        ),
        "skipped_steps": trainer.seen.skipped,
        "nonfinite_steps": trainer.seen.not_finite,
        "world_size": trainer.args.world_size,
        "precision": device.precision,
        "device": device.name,
        "dropout": dropout,
        "trainable_parameters": loading.parameter_count(model, trainable=True),
        "total_parameters": loading.parameter_count(model),
    }


def resumable(run: RunFolder, config: RunConfig) -> Path | None:
    """Return the checkpoint to go on from; one that is damaged is set aside.

    Raises:
        ArtefactError: There are checkpoints and none is valid.
    """
    from finetune.training import checkpoint

    if config.train.resume == "auto":
        return checkpoint.newest_valid(
            run.checkpoints, lambda manifest: identity.stranger(manifest, run)
        )
    storage.remove_tree(run.checkpoints)  # a later step of an earlier attempt would pass for newer
    return None


def optimise(trainer: TaskTrainer, resume: Path | None) -> None:
    """Train from the beginning or from a checkpoint, or not at all where that was the last one."""
    from transformers import TrainerState

    from finetune.training import checkpoint, resuming

    if resume is not None and trainer.args.process_index == 0:
        sys.stderr.write(f"   going on from {resume.name}\n")
    if resume is not None and checkpoint.has_ended(resume):
        trainer.state = TrainerState.load_from_json(str(resume / checkpoint.STATE))
        trainer.seen.load(storage.read_json(resume / resuming.SEEN))
        return
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    trainer.save_last()


def apply_strategy(config: RunConfig, loaded: loading.Loaded) -> nn.Module:
    """Return the model with what the strategy trains marked."""
    chosen = config.strategy
    options: dict[str, Any] = {}
    if chosen.peft_type is not None:
        values = vars(chosen)
        options = (
            dict(values["options"])
            if "options" in values
            else {
                key: value
                for key, value in values.items()
                if key not in ("name", "peft_type", "quantization", "learning_rate")
            }
        )
    return strategy.apply(
        loaded.model, peft_type=chosen.peft_type, options=options, new_modules=loaded.new_modules
    )


def make_trainer(
    run: RunFolder,
    config: RunConfig,
    task: Task,
    model: nn.Module,
    device: Device,
    *,
    callbacks: Sequence[Any] = (),
) -> TaskTrainer:
    """Return the trainer with its rows and callbacks."""
    from transformers import EarlyStoppingCallback, PrinterCallback, ProgressCallback

    from finetune.training.batching import Batching
    from finetune.training.callbacks import MetricsLog, Progress
    from finetune.training.events import Events
    from finetune.training.probe import Probe
    from finetune.training.resuming import remembered_plan
    from finetune.training.saving import Saving
    from finetune.training.seen import Seen
    from finetune.training.stepper import Watch
    from finetune.training.trainer import TaskTrainer

    settings = config.train
    arguments = training_arguments(run, config, task, device)
    augmentation.check(config)
    train_rows = rows.of_training(run, config)
    validation = rows.of(run, task, "validation", max_rows=settings.eval_max_rows)
    seen = Seen(halvings=remembered_plan(run.checkpoints))
    events = Events(run.path / "logs" / "events.jsonl" if arguments.process_index == 0 else None)
    evaluates = arguments.eval_strategy != "no"
    everything = [
        *callbacks,
        Saving(settings.save_strategy, settings.save_steps, evaluates=evaluates),
        MetricsLog(run.metrics_log, seen),
        events,
        Progress(),
    ]
    if settings.early_stopping_patience is not None:
        everything.append(EarlyStoppingCallback(settings.early_stopping_patience))
    per_rank = -(-settings.global_batch_size // arguments.world_size)
    micro, probe = settings.micro_batch_size, Probe()
    if micro == "auto":
        micro = min(per_rank, CPU_MICRO_BATCH) if device.name == "cpu" else per_rank
        if device.name != "cpu":  # a host's memory does not end at one allocation that fails
            everything.append(probe)
    with quiet_transformers():
        trainer = TaskTrainer(
            model,
            arguments,
            task=task,
            train_rows=train_rows,
            validation_rows=validation if len(validation) else None,
            cut=Batching(
                settings.global_batch_size,
                min(micro, per_rank),
                settings.group_by_length,
                settings.dataloader_num_workers,
            ),
            facts={"recipe": config.recipe, "seed": config.seed, **identity.identity(run)},
            seen=seen,
            events=events,
            watch=Watch(settings.max_nonfinite_steps, settings.loss_spike_factor),
            callbacks=everything,
        )
    probe.trainer = trainer
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    return trainer


def training_arguments(run: RunFolder, config: RunConfig, task: Task, device: Device) -> Any:
    """Return transformers' arguments for our settings."""
    from transformers import TrainingArguments

    settings = config.train
    evaluates = settings.eval_strategy != "no" and has_validation(run)
    strategy_name = settings.eval_strategy if evaluates else "no"
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
        "bf16": device.precision == "bf16",
        "fp16": device.precision == "fp16",
        "use_cpu": device.name == "cpu",
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
        "ddp_find_unused_parameters": False,  # gradients are added up by `exchange`
        "ddp_broadcast_buffers": False,  # ranks do nothing together within a pass
        "log_level": "error",
        "log_level_replica": "error",
        "label_names": [],
        "restore_callback_states_from_checkpoint": True,  # the patience of early stopping
    }
    if settings.gradient_checkpointing:
        values["activation_checkpointing"] = True
        values["activation_checkpointing_kwargs"] = {"use_reentrant": False}
    return TrainingArguments(**values)


def warmup_steps(config: RunConfig, run: RunFolder) -> int:
    """Return how many steps the learning rate rises over, rounded down.

    A schedule's first step has learning rate 0 when there is a warm-up, so that a warm-up of less
    than one step, rounded up, would let a run of one step learn nothing.
    """
    settings = config.train
    per_epoch = -(-rows.of_an_epoch(run, config) // settings.global_batch_size)
    steps = settings.max_steps or math.ceil((settings.num_train_epochs or 1) * per_epoch)
    return int(settings.warmup_ratio * steps)


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


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep the libraries' own progress talk off the terminal; ours says what matters."""
    with loading.quiet():
        yield


def kept_checkpoint(run: RunFolder) -> Path:
    """Return the checkpoint that training chose to keep."""
    return run.checkpoints / str(run.manifest()["stages"]["train"]["kept"])
