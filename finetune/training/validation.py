"""Score the validation rows while training: each counted once, whatever the number of ranks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from finetune.tasks.base import CoupledTask, Prediction, Task, to_device

if TYPE_CHECKING:
    from torch import nn

    from finetune.training.rows import Rows

HIGHEST_EXPONENT = 700.0
"""``exp`` of more is not finite."""


BATCH = 32
"""Most validation rows of a forward pass."""


def batch_size(task: Task, micro: int) -> int:
    """Return the rows of a forward pass: where rows are contrasted, always the same."""
    return BATCH if isinstance(task, CoupledTask) else min(BATCH, micro * 2)


def share(rows: int, *, rank: int, world: int, together: bool) -> tuple[list[int], int]:
    """Return a rank's rows and how many ranks share them.

    Args:
        rows: Rows of the validation split.
        rank: This rank.
        world: Number of ranks.
        together: Whether every rank takes all rows: they are judged against each other, or ranks
            meet within a forward pass and must do as many.
    """
    if together:
        rank, world = 0, 1
    return list(range(rank, rows, world)), world


@dataclass
class Part:
    """What one rank found about its rows."""

    places: list[int]
    """Row numbers in the validation split."""
    loss: float = 0.0
    """Summed over units."""
    units: float = 0.0
    """What the loss is averaged over."""
    predictions: list[Prediction] = field(default_factory=list)
    references: list[Any] = field(default_factory=list)


def judge(
    task: Task,
    model: nn.Module,
    rows: Rows,
    places: list[int],
    *,
    batch_size: int,
    precision: Callable[[], AbstractContextManager[Any]],
) -> Part:
    """Return loss and answers of some rows.

    Rows go forward beside others of their length, so that little of a batch is padding; where rows
    are contrasted, what is beside them is part of the loss, and they keep their order.

    Args:
        task: What it is about.
        model: In evaluation mode.
        rows: The validation split.
        places: This rank's rows.
        batch_size: Rows per forward pass.
        precision: Opens the context that training computes its loss in.
    """
    import torch

    part = Part(places)
    order = list(places)
    if not isinstance(task, CoupledTask):
        order.sort(key=lambda place: -rows.lengths[place])
    for start in range(0, len(order), batch_size):
        with torch.no_grad(), precision():
            chosen = order[start : start + batch_size]
            total, count = task.loss(model, to_device(task.collate(rows.fetch(chosen)), model))
        part.loss, part.units = part.loss + float(total), part.units + float(count)
    raw = rows.raw.select(places).to_list() if places else []
    part.predictions = task.predict(model, raw, batch_size=batch_size) if raw else []
    part.references = task.references(raw)
    return part


def scores(task: Task, parts: Sequence[Part], prefix: str) -> dict[str, float]:
    """Return the metrics of all ranks' parts together, in the order of the rows."""
    answers = {
        place: (prediction, reference)
        for part in parts
        for place, prediction, reference in zip(
            part.places, part.predictions, part.references, strict=True
        )
    }
    ordered = [answers[place] for place in sorted(answers)]
    mean = sum(part.loss for part in parts) / max(sum(part.units for part in parts), 1.0)
    found = {f"{prefix}_loss": mean}
    scored = task.score([p for p, _ in ordered], [r for _, r in ordered])
    found |= {f"{prefix}_{name}": float(value) for name, value in scored.items()}
    if "perplexity" in task.row_metrics:
        found[f"{prefix}_perplexity"] = math.exp(min(mean, HIGHEST_EXPONENT))
    return found
