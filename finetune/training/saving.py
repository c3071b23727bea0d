"""When a checkpoint is written: with each evaluation, each epoch, or every so many steps."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback


class Saving(TrainerCallback):
    """Asks for checkpoints; what they are asked for by signal or clock comes on top.

    Args:
        strategy: ``auto`` (when validation is scored, else each epoch), ``epoch``, ``steps``, or
            ``no``.
        steps: How often, with ``steps``.
        evaluates: Whether validation is scored while training.
    """

    def __init__(self, strategy: str, steps: int | None, *, evaluates: bool) -> None:
        self.strategy, self.steps, self.evaluates = strategy, steps, evaluates

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Ask in the middle of an epoch."""
        del args, kwargs
        if self.strategy == "auto" and control.should_evaluate:
            control.should_save = True
        if self.strategy == "steps" and self.steps and state.global_step % self.steps == 0:
            control.should_save = True

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Ask at the end of an epoch."""
        del args, state, kwargs
        each = self.strategy == "epoch" or (self.strategy == "auto" and not self.evaluates)
        if each or (self.strategy == "auto" and control.should_evaluate):
            control.should_save = True
