"""The splits as training needs them: with lengths to group by and classes to balance by."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from finetune.config.schema import RunConfig
from finetune.runs.folder import RunFolder
from finetune.stages import augmentation, splits
from finetune.tasks.base import Task

if TYPE_CHECKING:
    from finetune.data.augmentation.augmenter import Augmenter
    from finetune.training.rows import Rows


def of(
    run: RunFolder,
    task: Task,
    split: str,
    *,
    max_rows: int | None = None,
    augmenter: Augmenter | None = None,
) -> Rows:
    """Return a split as the trainer needs it.

    Args:
        run: The run folder.
        task: Encodes rows.
        split: Name of the split.
        max_rows: Most rows taken.
        augmenter: Changes rows each time that training meets them.
    """
    from finetune.training.rows import Rows

    raw = splits.read(run, split, max_rows=max_rows)
    fetch = splits.fetcher(run, task, split, raw, augmenter)
    if fetch.encoded is not None:
        lengths = fetch.encoded["length"][:] if len(raw) else []
    else:
        lengths = [
            item.get("length", 0) for rows in splits.in_pieces(raw) for item in task.measure(rows)
        ]
    return Rows(ids=raw["id"][:] if len(raw) else [], raw=raw, lengths=list(lengths), fetch=fetch)


def of_training(run: RunFolder, config: RunConfig) -> Rows:
    """Return the training rows, augmented and balanced as the configuration says."""
    rows = of(run, config.task, "train", augmenter=augmentation.augmenter(config))
    return replace(rows, classes=classes(config, rows.raw))


def classes(config: RunConfig, raw: Any) -> list[Any] | None:
    """Return the class of each training row where epochs are to be balanced, else None."""
    from finetune.data.kinds import label_column

    column = label_column(config.task.columns)
    if config.train.sampling != "balanced" or column is None:
        return None
    return list(raw[column]) if len(raw) else []


def of_an_epoch(run: RunFolder, config: RunConfig) -> int:
    """Return how many rows an epoch meets, repeated ones counted."""
    from finetune.training.sampling import order

    raw = splits.read(run, "train")
    return len(order(len(raw), classes(config, raw), seed=config.seed))
