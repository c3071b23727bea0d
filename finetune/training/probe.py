"""The largest micro-batch that fits, found out before the first step with the longest rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback

from finetune.tasks.base import to_device
from finetune.training.batching import MicroBatch
from finetune.training.memory import OutOfMemory, agreed

if TYPE_CHECKING:
    from torch import nn

    from finetune.training.trainer import TaskTrainer

MOMENTS = 2
"""Tensors that the optimiser will keep for each trained weight: Adam's."""


class Probe(TrainerCallback):
    """Trains the longest rows on trial and halves micro-batches until they fit.

    What fits is remembered as a smaller cut, which changes no result. A resumed run keeps the cut
    of its checkpoint. Shards are not probed: ranks that meet within a pass can't be told.

    Args:
        trainer: Set once it is made.
    """

    trainer: TaskTrainer | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Probe, unless this run has begun before."""
        del args, control, kwargs
        trainer = self.trainer
        if trainer is None or state.global_step or trainer.is_sharded:
            return
        model = trainer.accelerator.unwrap_model(trainer.model)
        while True:
            try:
                with agreed(trainer.args.world_size):
                    self._try(trainer, model)
                return
            except OutOfMemory as error:
                model.zero_grad()
                trainer.stepper.cut_smaller(error)
            finally:
                model.zero_grad()

    def _try(self, trainer: TaskTrainer, model: nn.Module) -> None:
        """Go forward and backward with the longest rows, beside what the optimiser will take."""
        rows = trainer.train_rows
        longest = sorted(range(len(rows)), key=lambda row: (-rows.lengths[row], row))
        chosen = MicroBatch(longest[: trainer.micro_batch_size])
        trainer.stepper.plan = [chosen]
        chosen.visits.extend((0, 0) for _ in chosen.rows)
        trained = [p for p in model.parameters() if p.requires_grad]
        reserved = [
            torch.empty(MOMENTS * p.numel(), dtype=p.dtype, device=p.device) for p in trained
        ]
        model.train()
        batch = to_device(trainer.task.collate(rows.fetch(chosen.rows, chosen.visits)), model)
        with trainer.compute_loss_context_manager():
            loss, units = trainer.task.loss(model, batch)
        (loss / max(float(units), 1.0)).backward()
        del reserved
