"""What is computed once per row and kept: the entry, its place, its budget, its blocks of rows."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from finetune.config.schema import RunConfig
from finetune.data import cache
from finetune.errors import StorageError
from finetune.runs import entries, storage
from finetune.runs.folder import RunFolder
from finetune.stages import splits
from finetune.version import __version__

if TYPE_CHECKING:
    from finetune.training.kept import Kept, Named
    from finetune.training.rows import Rows
    from finetune.training.trainer import TaskTrainer

BLOCK = 16
"""Rows computed at once: always the same ones, so that every number of ranks computes the same."""
WORTH = 1.5
"""Times that a row is met on average from which keeping what is computed of it saves something."""


class Part(Protocol):
    """What makes something of rows that stays the same: part of a model, or of the preparation."""

    name: str
    """Where it is, or what it makes."""
    tolerance: float
    """How far what is kept may be from what is computed now, relative to its size."""

    def size(self, rows: Rows) -> int:
        """Return the bytes of what it makes of rows, about."""
        ...

    def identity(self) -> list[Any]:
        """Return what an entry is named by beside the rows, the processor and our versions."""
        ...

    def computed(self, rows: Rows, numbers: Sequence[int]) -> list[Named]:
        """Return what it makes of some rows, on the host."""
        ...

    def series(self, rows: Rows, blocks: Iterable[Sequence[int]]) -> Iterator[list[Named]]:
        """Yield what it makes of blocks of rows, in their order."""
        ...

    def use(self, rows: Mapping[str, Rows], found: Mapping[str, Kept]) -> None:
        """Let the trainer use what is kept of each split."""


def folder() -> Path:
    """Return where entries are kept: beside the prepared data."""
    return cache.folder().with_name("frozen")


def can_write() -> bool:
    """Tell whether the folder of entries is there, or can be made, and may be written to."""
    with contextlib.suppress(OSError):
        folder().mkdir(parents=True, exist_ok=True)
    return folder().is_dir() and os.access(folder(), os.W_OK | os.X_OK)


def splits_of(trainer: TaskTrainer) -> dict[str, Rows]:
    """Return the splits that training meets."""
    parts = {"train": trainer.train_rows, "validation": trainer.validation_rows}
    return {split: of for split, of in parts.items() if of is not None and len(of)}


def carry(
    trainer: TaskTrainer,
    key: str,
    rows: Mapping[str, Rows],
    found: Mapping[str, Callable[[int], Any]],
) -> None:
    """Let a trainer's rows carry what is kept of them in the place of pictures and sound."""
    carried = {
        split: replace(of, fetch=splits.Carrying(trainer.task, of.raw, key, found[split]))
        for split, of in rows.items()
    }
    trainer.train_rows = carried["train"]
    trainer.validation_rows = carried.get("validation", trainer.validation_rows)


def all_kept(
    run: RunFolder,
    config: RunConfig,
    trainer: TaskTrainer,
    part: Part,
    rows: Mapping[str, Rows],
) -> dict[str, Kept] | str:
    """Return what is kept of each split, or why nothing can be."""
    from finetune.training import ranks

    world = trainer.args.world_size
    if not config.train.frozen_cache_gb:
        return "train.frozen_cache_gb is 0"
    if not all(ranks.gathered(can_write(), world)):  # whatever is free there
        return f"nothing can be written to {folder()}"
    needed = {split: part.size(of) for split, of in rows.items()}
    total = sum(needed.values())
    limit = min(ranks.gathered(budget(config.train.frozen_cache_gb), world))
    if total > limit:
        return f"it would take {told(total)} on disk, and {told(limit)} may be taken or are free"
    places = {
        split: folder() / key_of(run, trainer, part, split, len(of)) for split, of in rows.items()
    }
    if writes():
        entries.make_room(folder(), total, limit, {place.name for place in places.values()})
    found: dict[str, Kept] = {}
    for split, of in rows.items():
        known = kept_rows(trainer, part, of, places[split], needed[split])
        if known is None:
            return f"nothing can be written to {folder()}"
        found[split] = known
    return found


def writes() -> bool:
    """Tell whether this is the process of its machine that writes."""
    return int(os.environ.get("LOCAL_RANK", 0)) == 0


def times_met(trainer: TaskTrainer) -> float:
    """Return how often training meets a row on average."""
    rows, size = len(trainer.train_rows), trainer.cut.global_batch_size
    if trainer.args.max_steps > 0:
        return float(trainer.args.max_steps * size / rows)
    return float(trainer.args.num_train_epochs)


def budget(gigabytes: float) -> int:
    """Return the bytes that may be used: as configured, and at most half of what is free."""
    place = folder()
    while not place.exists():
        place = place.parent
    return min(int(gigabytes * 1e9), shutil.disk_usage(place).free // 2)


def told(size: int) -> str:
    """Return a size in words."""
    for unit, least in (("GB", 1e9), ("MB", 1e6)):
        if size >= least:
            return f"{size / least:.1f} {unit}"
    return f"{size / 1e3:.0f} kB"


def key_of(run: RunFolder, trainer: TaskTrainer, part: Part, split: str, rows: int) -> str:
    """Return the name of an entry: what computes, of which rows, and how these are prepared.

    A file of a split holds the bytes of its pictures and recordings: others under the same names
    are another split.
    """
    import torch
    import transformers

    encoded = splits.encoded_file(run, split)
    facts = {
        "rows": storage.sha256(run.data / f"{split}.parquet"),
        "encoded": storage.sha256(encoded) if encoded.is_file() else None,
        "number": rows,
        "part": part.identity(),
        "processor": repr(trainer.task.processor),
        "versions": [__version__, torch.__version__, transformers.__version__],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def kept_rows(
    trainer: TaskTrainer, part: Part, rows: Rows, entry: Path, needed: int
) -> Kept | None:
    """Return what the part makes of each row, computed by all ranks unless all know it already.

    On each machine one rank writes; all of them compute where any of them finds nothing. Where
    one of them can't write, all go without.
    """
    from finetune.training import kept, ranks

    world = trainer.args.world_size
    known = kept.load(entry)
    if known is not None and not is_still(part, rows, known):
        storage.remove_tree(entry)
        known = None
    if all(ranks.gathered(known is not None, world)):
        return known
    made = blocks(trainer, part, rows, world)
    if known is None and writes():
        with contextlib.suppress(StorageError, OSError):  # it is a help and no more
            known = kept.write(entry, made, needed=needed, facts={"module": part.name})
    if world > 1:
        for _ in made:  # what this rank does not write; the others wait for it
            pass
    ranks.barrier(world)
    known = known or kept.load(entry)
    return known if all(ranks.gathered(known is not None, world)) else None


def is_still(part: Part, rows: Rows, known: Kept) -> bool:
    """Tell whether a kept row is what is computed now: code that prepares rows may have changed."""
    import torch

    if len(known) < len(rows):  # a pair of texts is two
        return False
    (_, found), *_ = part.computed(rows, [0])
    wanted = known.row(0)
    if found.shape != wanted.shape or found.dtype != wanted.dtype:
        return False
    if torch.equal(found, wanted):
        return True
    apart = (found.float() - wanted.float()).norm() / found.float().norm()
    return bool(apart <= part.tolerance)


def blocks(trainer: TaskTrainer, part: Part, rows: Rows, world: int) -> Iterator[Sequence[Named]]:
    """Yield what the part makes of the rows, block by block; each rank computes its share."""
    from finetune.training import ranks

    count, skipped = len(rows), trainer.args.process_index * BLOCK
    starts = [min(start + skipped, count) for start in range(0, count, BLOCK * world)]
    own = [range(start, min(start + BLOCK, count)) for start in starts]
    for made in part.series(rows, own):
        yield from ranks.gathered(made, world)
