"""Train: the prepared rows, the base model and the strategy to a checkpoint that is kept."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.config.schema import RunConfig
from finetune.models import load as loading
from finetune.models import strategy
from finetune.models.source import BaseModel
from finetune.runs import attempts, identity, storage
from finetune.runs.folder import RunFolder
from finetune.stages import (
    audio_context,
    augmentation,
    base_model,
    devices,
    features,
    frozen,
    memory,
    postponed,
    reference,
    rows,
    sharing,
    workers,
)
from finetune.stages.arguments import training_arguments
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


def train(run: RunFolder, config: RunConfig, base: BaseModel) -> dict[str, Any]:
    """Train and return facts for the manifest; the checkpoint to keep is among them.

    Raises:
        NumericsError: Loss or gradient is not finite, or memory ran out.
    """
    from finetune.training import encoder_once, ranks
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
    interruption = Interruption(
        file=run.path / SAVE_FILE,
        max_hours=config.train.max_hours,
        save_minutes=config.train.save_minutes,
    )
    rank, world = devices.world()
    ranks.join(run, rank, world, timeout=config.train.dist_timeout, device=device.name)
    referred = reference.ask(run, config, loaded.model, device)
    model = apply_strategy(config, loaded)
    fused = memory.fuse_lora(config, model)
    task, heard = audio_context.shortened(run, config, task, model)
    trainer = make_trainer(run, config, task, model, device, callbacks=[interruption])
    reference.carry(trainer, referred)
    padded = None if task.lazy else spare_padding(trainer, config)
    shared = sharing.share_prompts(trainer, padded)
    with ranks.together(run, trainer):
        kept, computed = frozen.keep(run, config, trainer)
        with encoder_once.answering(model):  # kept or not, sound need not be heard to compare twice
            padded = spare_padding(trainer, config) if task.lazy else padded
            absorbed = memory.absorb_attention(config, trainer)
        planned = memory.plan(config, trainer)
        made = {**features.keep(run, config, trainer), **workers.settle(config, trainer)}
    counts = [loading.parameter_count(model, trainable=only) for only in (True, False)]
    with quiet_transformers(), interruption.watching(), ranks.together(run, trainer):
        optimise(trainer, resumable(run, config))
    trainer.layout.leave()
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
        "padding_free": padded is None,
        "padding_because": padded,
        **shared,
        **({"reference": referred.facts()} if referred is not None else {}),
        **fused,
        **absorbed,
        **planned,
        **made,
        **({"audio_context": heard} if heard is not None else {}),
        "frozen_part": kept,
        "frozen_because": computed,
        "trainable_parameters": counts[0],
        "total_parameters": counts[1],
    }


def spare_padding(trainer: TaskTrainer, config: RunConfig) -> str | None:
    """Let layers see no padding where that makes no difference; else return why they see it."""
    from finetune.training import unpadded

    if not config.train.padding_free:
        return "train.padding_free is false"
    if trainer.is_sharded:
        return "ranks share the model"
    with quiet_transformers():
        against = unpadded.prepare(
            trainer.task, trainer.model, trainer.train_rows, trainer.compute_loss_context_manager
        )
    if against is None:
        trainer.without_padding = unpadded.layers
    return against


def resumable(run: RunFolder, config: RunConfig) -> Path | None:
    """Return the checkpoint to go on from; one that is damaged is set aside.

    Raises:
        ArtefactError: There are checkpoints and none is valid.
    """
    from finetune.training import checkpoint

    if config.train.resume == "auto":
        found = checkpoint.newest_valid(
            run.checkpoints, lambda manifest: identity.stranger(manifest, run)
        )
        if found is not None and devices.world()[0] == 0:
            attempts.note(run, resumed_from=found.name)
        return found
    if devices.world()[0] == 0:  # two that delete the same folder trip over each other
        storage.remove_tree(run.checkpoints)  # a later step of an earlier one would pass for newer
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
    if resume is not None:
        trainer.load_weights(resume)
    with postponed.settled(), trainer.publisher.finishing():
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
        loaded.model,
        peft_type=chosen.peft_type,
        options=options,
        new_modules=loaded.new_modules,
        freeze=config.strategy.freeze if config.strategy.peft_type is None else (),
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
            ),
            facts={"recipe": config.recipe, "seed": config.seed, **identity.identity(run)},
            seen=seen,
            events=events,
            watch=Watch(settings.max_nonfinite_steps, settings.loss_spike_factor),
            precision=device.precision,
            callbacks=everything,
        )
    probe.trainer = trainer
    trainer.publisher.in_background = settings.async_save
    if settings.profile and arguments.process_index == 0:
        from finetune.training.profile import Profile

        trainer.add_callback(Profile(trainer, run.path / "logs" / "profile"))
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    return trainer


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep the libraries' own progress talk off the terminal; ours says what matters."""
    with loading.quiet():
        yield


def kept_checkpoint(run: RunFolder) -> Path:
    """Return the checkpoint that training chose to keep."""
    return run.checkpoints / str(run.manifest()["stages"]["train"]["kept"])
