"""The frozen part of a model computed once per row, where that changes nothing and is worth it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from finetune.config.schema import RunConfig
from finetune.runs.folder import RunFolder
from finetune.stages import augmentation, keeping
from finetune.stages.keeping import told

if TYPE_CHECKING:
    from finetune.stages.frozen_parts import PrefixPart, TowerPart
    from finetune.training.trainer import TaskTrainer

Facts = dict[str, Any]


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

    with quiet_transformers():
        part = found_in(trainer)
        if isinstance(part, str):
            return None, declined(config, trainer, part)
        rows = keeping.splits_of(trainer)
        found = keeping.all_kept(run, config, trainer, part, rows)
        if isinstance(found, str):
            part.leave()
            return None, declined(config, trainer, found)
        part.use(rows, found)
    total = sum(kept.bytes for kept in found.values())
    if trainer.args.process_index == 0:
        sys.stderr.write(
            f"   frozen `{part.name}` is computed once per row, not in each epoch "
            f"({told(total)} kept; train.frozen_cache=false computes it each time)\n"
        )
    return {"module": part.name, "bytes": total}, None


def declined(config: RunConfig, trainer: TaskTrainer, reason: str) -> str:
    """Return why nothing is kept, having said it to those who froze a part by hand."""
    if getattr(config.strategy, "freeze", None) and trainer.args.process_index == 0:
        sys.stderr.write(f"   what is frozen is computed each time: {reason}\n")
    return reason


def found_in(trainer: TaskTrainer) -> TowerPart | PrefixPart | str:
    """Return the frozen part of a model, or why there is none to keep."""
    from finetune.stages.frozen_parts import PrefixPart, TowerPart

    return TowerPart.find(trainer) if trainer.task.lazy else PrefixPart.find(trainer)


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
    if keeping.times_met(trainer) < keeping.WORTH:
        return "each row is met about once"
    return None
