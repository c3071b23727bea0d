"""How many processes make batches: none where nothing is decoded, else as few as keep up."""

from __future__ import annotations

import itertools
import math
import multiprocessing
import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.config.schema import RunConfig
from finetune.stages import augmentation, keeping, processors, splits
from finetune.stages.features import spread, told

if TYPE_CHECKING:
    from finetune.tasks.base import Features
    from finetune.training.trainer import TaskTrainer

TIMED = 5
"""Rows whose making is measured, after one that is not."""
ENOUGH = 1.0
"""Seconds of measuring after which two rows have to do."""
NOTHING = 0.05
"""Share of a row's training that its making may take without anybody noticing."""
STEP = 0.1
"""Seconds that a step is taken to last where it cannot be measured."""
LONG = 0.2
"""Seconds of a forward pass that is measured once, not twice."""
PASSES = 3
"""Forward passes that training on a row lasts as long as."""
AHEAD = 2
"""Batches that a process makes ahead, beside the one that it works at."""
SHARED = Path("/dev/shm")
"""Where processes hand batches over; containers often give it 64 MB."""


@dataclass(frozen=True)
class Measured:
    """What making and training rows takes, and what it is done with."""

    making: float
    """Seconds to make a row in one process."""
    training: float | None
    """Seconds to train on a row, once it is made; None where nobody could tell before."""
    cores: int
    """That this rank may use."""
    computing: int
    """Of them, those that are busy while a step is computed."""


def settle(config: RunConfig, trainer: TaskTrainer) -> dict[str, Any]:
    """Set how many processes make a trainer's batches; return it and why for the manifest."""
    from finetune.training import ranks

    asked = config.train.dataloader_num_workers
    if asked != "auto":
        count, because = asked, "train.dataloader_num_workers says so"
    else:
        count, because = chosen(config, trainer)
        count = ranks.largest(count, trainer.args.world_size)
    trainer.cut = replace(trainer.cut, workers=count)
    if asked == "auto" and count and trainer.args.process_index == 0:
        sys.stderr.write(
            f"   batches are made by {count} process{'es' * (count > 1)} beside training: "
            f"{because} (train.dataloader_num_workers=0 makes them in turn)\n"
        )
    return {"loader_workers": count, "loader_workers_because": because}


def chosen(config: RunConfig, trainer: TaskTrainer) -> tuple[int, str]:
    """Return how many processes make batches, and why, as far as one rank can tell."""
    task, fetch = trainer.task, trainer.train_rows.fetch
    if not task.lazy:
        return 0, "texts are tokenised before training"
    if isinstance(fetch, splits.Carrying):
        return 0, "nothing is decoded: batches carry what is kept of each row"
    if multiprocessing.get_start_method() != "fork":
        return 0, "this system starts processes anew, which takes seconds"
    making, features = time_to_make(trainer)
    row = sum(getattr(value, "nbytes", 0) for value in features[0].values())
    changed = augmentation.augmenter(config) is not None
    met, rows = keeping.times_met(trainer), len(trainer.train_rows)
    if not changed and met >= keeping.WORTH and row * rows <= splits.CACHED_BYTES:
        return 0, f"what is made of all rows stays in memory ({keeping.told(row * rows)})"
    cores = processors.threads() or processors.allowed()
    measured = Measured(making, time_to_train(trainer, features), cores, busy(trainer))
    step = trainer.cut.global_batch_size / trainer.args.world_size
    count, because = as_few_as_keep_up(measured, step)
    room = room_for(row * step)
    if room is not None and room < count:
        return room, f"{because}; {SHARED} has no room for more than {room}"
    return count, because


def room_for(batch: float) -> int | None:
    """Return how many processes can hand batches of so many bytes over, None without a limit."""
    if not SHARED.is_dir() or not batch:
        return None
    return int(shutil.disk_usage(SHARED).free / 2 / batch / (AHEAD + 1))


def as_few_as_keep_up(measured: Measured, step: float) -> tuple[int, str]:
    """Return how many processes make rows as fast as they are trained on, and why.

    Where every core computes, a process beside it only takes turns with it: one is worth it where
    making takes longer than training, so that cores wait.

    Args:
        measured: What takes how long.
        step: Rows of a step on this rank.
    """
    making, training = measured.making, measured.training
    if training is None:
        training = STEP / step
        because = (
            f"a row is made in {told(making)}; how long a step takes is not known before, "
            f"{STEP:g} s is assumed"
        )
    else:
        because = f"a row is made in {told(making)} and trained on in {told(training)}"
    wanted, spare = math.ceil(making / training), measured.cores - measured.computing
    if making < NOTHING * training:
        return 0, because
    if spare > 0:
        return min(wanted, spare), f"{because}, {spare} of {measured.cores} cores are spare"
    if making > training and measured.cores > 1:
        return min(wanted, measured.cores), f"{because}, which leaves cores waiting"
    return 0, f"{because}, and no core is spare"


def busy(trainer: TaskTrainer) -> int:
    """Return how many cores compute a step: one gives orders to an accelerator."""
    import torch

    return torch.get_num_threads() if trainer.args.device.type == "cpu" else 1


def time_to_make(trainer: TaskTrainer) -> tuple[float, Sequence[Features]]:
    """Return the seconds that making a row takes, and some rows made."""
    fetch, taken, made = trainer.train_rows.fetch, [], []
    for number in spread(len(trainer.train_rows), TIMED + 1):
        start = time.perf_counter()
        made += fetch([number], [(0, 0)])
        taken.append(time.perf_counter() - start)
        if len(taken) > 1 and sum(taken) > ENOUGH:
            break
    return statistics.median(taken[1:] or taken), made


def time_to_train(trainer: TaskTrainer, features: Sequence[Features]) -> float | None:
    """Return about how long training on a row takes, once it is made; None where none can tell.

    A forward pass is measured, and the backward pass taken to last twice as long. The model is as
    in evaluation, so that neither randomness nor running statistics move on.
    """
    import torch

    from finetune.training import towers

    if trainer.is_sharded:
        return None
    device, model = trainer.args.device, trainer.model
    size = 1 if device.type == "cpu" else trainer.micro_batch_size
    batch = trainer.task.collate(list(itertools.islice(itertools.cycle(features), size)))
    was_training, taken = model.training, 0.0
    model.eval()
    try:
        on_device = {key: value.to(device) for key, value in batch.items()}
        for _ in range(2):  # what is done once is done in the first
            start = time.perf_counter()
            with torch.no_grad(), trainer.compute_loss_context_manager():
                towers.outcome(trainer.task, model, on_device)
            if device.type != "cpu":
                torch.accelerator.synchronize()
            taken = time.perf_counter() - start
            if taken > LONG:  # beside it what is done once is little
                break
    except RuntimeError:  # memory ran out; training itself cuts batches smaller
        return None
    finally:
        model.train(was_training)
    return PASSES * taken / size
