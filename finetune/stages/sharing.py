"""Whether what a pair of rows begins with passes the layers once, and why where it does not."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finetune.training.trainer import TaskTrainer


def share_prompts(trainer: TaskTrainer, padded: str | None) -> dict[str, Any]:
    """Let pairs of rows share what they begin with, where a task's rows are pairs.

    Args:
        trainer: Not yet training.
        padded: Why layers see padding, without whose absence nothing is shared.

    Returns:
        What the manifest says.
    """
    from finetune.models import load
    from finetune.training import sharing, unpadded

    if not hasattr(trainer.task, "share_prompt"):
        return {}
    against = padded
    if against is None:
        trainer.without_padding = contextlib.nullcontext  # to compare with what does not share
        with load.quiet():
            against = sharing.prepare(
                trainer.task,
                trainer.model,
                trainer.train_rows,
                trainer.compute_loss_context_manager,
            )
        trainer.without_padding = unpadded.layers
    return {"prompt_shared": against is None, "prompt_because": against}
