"""The frozen part of a model computed once per row, where that changes nothing and is worth it."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.config.schema import RunConfig
from finetune.data import cache
from finetune.data.kinds import Audio, Image
from finetune.runs import storage
from finetune.runs.folder import RunFolder
from finetune.stages import augmentation, splits
from finetune.version import __version__

if TYPE_CHECKING:
    from torch import Tensor, nn

    from finetune.tasks.base import Features, Task
    from finetune.training.kept import Kept
    from finetune.training.rows import Rows
    from finetune.training.towers import Tower
    from finetune.training.trainer import TaskTrainer

BLOCK = 16
"""Rows computed at once: always the same ones, so that every number of ranks computes the same."""
WORTH = 1.5
"""Times that a row is met on average from which keeping what is computed of it saves something."""
SPLITS = ("train", "validation")

Facts = dict[str, Any]


def folder() -> Path:
    """Return where entries are kept: beside the prepared data."""
    return cache.folder().with_name("frozen")


def keep(
    run: RunFolder, config: RunConfig, trainer: TaskTrainer
) -> tuple[Facts | None, str | None]:
    """Let batches carry what the frozen part makes of their rows; or say why they don't.

    Returns:
        What is kept, and None; or None, and the reason against it.
    """
    against = reason_against(config, trainer)
    if against is not None:
        return None, against
    from finetune.stages.train import quiet_transformers
    from finetune.training import towers

    rows = trainer.train_rows
    batch = {
        key: value.to(trainer.args.device)
        for key, value in trainer.task.collate(rows.fetch([0, 1])).items()
    }
    with quiet_transformers():
        tower = towers.find(
            trainer.task, trainer.model, batch, trainer.compute_loss_context_manager
        )
    if isinstance(tower, str):
        return None, tower
    parts = {"train": rows, "validation": trainer.validation_rows}
    needed = size(tower, sum(len(part) for part in parts.values() if part is not None))
    limit = budget(config.train.frozen_cache_gb)
    if needed > limit:
        return None, f"it would take {told(needed)} on disk, more than {told(limit)}"
    carried: dict[str, Any] = {}
    total = 0
    for split, part in parts.items():
        if part is None or not len(part):
            continue
        entry = folder() / key_of(run, trainer, tower, split)
        kept = kept_rows(trainer, tower, part, entry, limit)
        carried[split] = replace(part, fetch=Carrying(trainer.task, part.raw, tower.key, kept))
        total += kept.bytes
    tower.install()
    trainer.train_rows = carried["train"]
    trainer.validation_rows = carried.get("validation", trainer.validation_rows)
    if trainer.args.process_index == 0:
        sys.stderr.write(
            f"   frozen `{tower.name}` is computed once per row, not in each epoch "
            f"({told(total)} kept; train.frozen_cache=false computes it each time)\n"
        )
    return {"module": tower.name, "bytes": total, "shape": list(tower.shape)}, None


def reason_against(config: RunConfig, trainer: TaskTrainer) -> str | None:
    """Return why nothing is kept, as far as settings and rows tell."""
    rows = len(trainer.train_rows)
    if not config.train.frozen_cache:
        return "train.frozen_cache is false"
    if trainer.is_sharded:
        return "ranks share the model"
    if rows < 2:
        return "there is one row"
    if augmentation.augmenter(config) is not None:
        return "rows are changed each time that they are met"
    if times_met(trainer) < WORTH:
        return "each row is met about once"
    return None


def times_met(trainer: TaskTrainer) -> float:
    """Return how often training meets a row on average."""
    rows, size = len(trainer.train_rows), trainer.cut.global_batch_size
    if trainer.args.max_steps > 0:
        return float(trainer.args.max_steps * size / rows)
    return float(trainer.args.num_train_epochs)


def size(tower: Tower, rows: int) -> int:
    """Return the bytes of what a tower makes of so many rows."""
    return rows * math.prod(tower.shape) * int(tower.dtype.itemsize)


def budget(gigabytes: float) -> int:
    """Return the bytes that may be used: as configured, and at most half of what is free."""
    place = folder()
    while not place.exists():
        place = place.parent
    return min(int(gigabytes * 1e9), shutil.disk_usage(place).free // 2)


def told(size: int) -> str:
    """Return a size in words."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def key_of(run: RunFolder, trainer: TaskTrainer, tower: Tower, split: str) -> str:
    """Return the name of an entry: the frozen weights, the rows, and how they are prepared."""
    import torch
    import transformers

    processor = trainer.task.processor
    facts = {
        "rows": storage.sha256(run.data / f"{split}.parquet"),
        "number": len(trainer.train_rows if split == "train" else trainer.validation_rows or ()),
        "weights": weights_hash(tower.module),
        "module": [tower.name, tower.part, list(tower.shape), str(tower.dtype)],
        "processor": repr(processor),
        "precision": [trainer.precision, trainer.args.device.type],
        "versions": [__version__, torch.__version__, transformers.__version__],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def weights_hash(module: nn.Module) -> str:
    """Return a hash of a module's configuration, weights and buffers."""
    import torch

    digest = hashlib.sha256(repr(module).encode())
    digest.update(repr(getattr(module, "config", None)).encode())
    for name, value in [*module.named_parameters(), *module.named_buffers()]:
        digest.update(name.encode())
        raw = value.detach().cpu().contiguous().flatten()
        digest.update(raw.view(torch.uint8).numpy())
    return digest.hexdigest()


def kept_rows(trainer: TaskTrainer, tower: Tower, rows: Rows, entry: Path, limit: int) -> Kept:
    """Return what the tower makes of each row, computed by all ranks unless all know it already.

    On each machine one rank writes; all of them compute where any of them finds nothing.
    """
    from finetune.training import kept, ranks

    world = trainer.args.world_size
    known = kept.load(entry)
    if known is not None and not is_still(trainer, tower, rows, known):
        known = None
    everybody = all(ranks.gathered(known is not None, world))
    if not everybody:
        made = blocks(trainer, tower, rows, world)
        if known is None and int(os.environ.get("LOCAL_RANK", 0)) == 0:
            needed = size(tower, len(rows))
            kept.make_room(entry.parent, needed, limit)
            kept.write(entry, made, needed=needed, facts={"module": tower.name})
        else:
            for _ in made:
                pass
        ranks.barrier(world)
        known = known or kept.load(entry)
    assert known is not None
    return known


def is_still(trainer: TaskTrainer, tower: Tower, rows: Rows, known: Kept) -> bool:
    """Tell whether a kept row is what is computed now: code that prepares rows may have changed."""
    from finetune.training.towers import TOLERANCE

    if len(known) != len(rows):
        return False
    [found], wanted = computed(trainer, tower, rows, [0]), known.row(0)
    if found.shape != wanted.shape:
        return False
    apart = (found.float() - wanted.float()).norm() / found.float().norm()
    return bool(apart <= (TOLERANCE if trainer.precision == "fp32" else 3e-2))


def blocks(
    trainer: TaskTrainer, tower: Tower, rows: Rows, world: int
) -> Iterator[Sequence[Tensor]]:
    """Yield what the tower makes of the rows, block by block; each rank computes its share."""
    from finetune.training import ranks

    rank = trainer.args.process_index
    for start in range(0, len(rows), BLOCK * world):
        own = start + rank * BLOCK
        part = computed(trainer, tower, rows, list(range(len(rows)))[own : own + BLOCK])
        yield from ranks.gathered(part, world)


def computed(
    trainer: TaskTrainer, tower: Tower, rows: Rows, numbers: Sequence[int]
) -> list[Tensor]:
    """Return what the tower makes of some rows, on the host; each of shape (1, …)."""
    if not numbers:
        return []
    task = trainer.task
    features = task.encode(splits.as_rows(rows.raw[list(numbers)]))
    value = task.collate(features)[tower.key].to(trainer.args.device)
    was_training = tower.module.training
    tower.module.eval()
    with trainer.compute_loss_context_manager():
        states = tower.states(value)
    tower.module.train(was_training)
    return list(states.cpu().split(1))


class Carrying:
    """Row numbers → features that carry what the frozen part makes of a row, nothing decoded.

    Args:
        task: Encodes what is left of the rows.
        raw: The split.
        key: What features call the frozen part's input.
        kept: What it makes of each row.
    """

    def __init__(self, task: Task, raw: Any, key: str, kept: Kept) -> None:
        media = [name for name, kind in task.columns.items() if isinstance(kind, (Image, Audio))]
        left = raw.remove_columns([name for name in media if name in raw.column_names])
        self.rest: Callable[..., list[Features]] = splits.Fetcher(task, left, None)
        self.key, self.kept = key, kept

    def __call__(self, rows: Sequence[int], visits: Sequence[Any] = ()) -> list[Features]:
        """Return the features of rows, in their order."""
        del visits
        found = self.rest(rows)
        return [
            {**features, self.key: self.kept.row(row).float().numpy()}
            for row, features in zip(rows, found, strict=True)
        ]
