"""What stops a step: numbers that are not finite, named by their rows, and memory that ran out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from finetune.errors import NumericsError
from finetune.tasks.base import CoupledTask, Task, to_device

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from finetune.training.rows import Rows

NAMED = 8
"""Most rows named in a message."""


def out_of_memory(step: int, largest: int, *, resumable: bool = False) -> NumericsError:
    """Return the error for a step that does not fit.

    Args:
        step: The step.
        largest: Rows of its largest micro-batch.
        resumable: Whether the next attempt will take smaller micro-batches by itself.
    """
    if resumable:
        return NumericsError(
            f"Memory ran out at step {step} with {largest} {plural(largest)} in a micro-batch.",
            fix="The same command goes on from the last checkpoint with half of that, "
            "and the result stays the same.",
            where=f"step {step}",
        )
    smaller = (
        f"Set train.micro_batch_size={largest // 2} (the result stays the same), "
        if largest > 1
        else "Set "
    )
    return NumericsError(
        f"Memory ran out at step {step} with {largest} {plural(largest)} in a micro-batch.",
        fix=f"{smaller}train.gradient_checkpointing=true, a smaller task.max_length, "
        "or strategy=qlora.",
        where=f"step {step}",
    )


def plural(rows: int) -> str:
    """Return the word for so many rows."""
    return "row" if rows == 1 else "rows"


def not_finite(what: str, *, step: int, ids: Sequence[str], last: Path | None) -> NumericsError:
    """Return the error for a loss or a gradient that is no number.

    Args:
        what: What is not finite, with its value.
        step: The step.
        ids: The rows it may come from.
        last: The newest checkpoint, if there is one.
    """
    names = ", ".join(ids[:NAMED]) + (f" and {len(ids) - NAMED} more" if len(ids) > NAMED else "")
    kept = f" The last checkpoint is {last.name}." if last else ""
    return NumericsError(
        f"{what} at step {step}, in the batch with {plural(len(ids))} {names}; "
        f"no weight was changed by it.{kept}",
        fix="Lower train.learning_rate, set train.max_grad_norm=1, use train.precision=fp32, "
        "or look at these rows.",
        where=f"step {step}",
    )


def guilty(task: Task, model: nn.Module, rows: Rows, numbers: Sequence[int]) -> list[int]:
    """Return the rows whose own loss is not finite; all of them where none stands out alone."""
    import torch

    if isinstance(task, CoupledTask):
        return list(numbers)
    found = []
    for number in numbers:
        with torch.no_grad():
            batch = to_device(task.collate(rows.fetch([number])), model)
            sums, _ = task.row_losses(model, batch)
        if not bool(torch.isfinite(sums).all()):
            found.append(number)
    return found or list(numbers)
