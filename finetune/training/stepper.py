"""One optimiser step up to its gradient: what is left out, refused, reported, or cut smaller."""

from __future__ import annotations

import gc
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from finetune.errors import DataError
from finetune.training import batching, checkpoint, ranks, refusal, resuming, seeding, step
from finetune.training.batching import StepBatch
from finetune.training.memory import OutOfMemory, is_out_of_memory

if TYPE_CHECKING:
    from torch import Tensor, nn

    from finetune.training.events import Events
    from finetune.training.trainer import TaskTrainer


@dataclass(frozen=True)
class Watch:
    """What is done about numbers that are out of the ordinary."""

    max_nonfinite_steps: int = 0
    """Steps with a loss or gradient that is no number, left out before the run stops."""
    spike_factor: float | None = None
    """A loss of so many times the usual one is reported; None looks for nothing."""


class Stepper:
    """Trains the rows of a global batch once.

    Args:
        trainer: Knows task, rows, devices and ranks.
        events: Where what happens is written down.
        watch: What is done about numbers out of the ordinary.
    """

    def __init__(self, trainer: TaskTrainer, events: Events, watch: Watch) -> None:
        self.trainer, self.events, self.watch = trainer, events, watch
        self.plan: Sequence[batching.MicroBatch] = ()

    @property
    def number(self) -> int:
        """The step that is being trained, counted from 1."""
        return int(self.trainer.state.global_step) + 1

    def run(self, model: nn.Module, inputs: StepBatch) -> Tensor:
        """Run a global batch forward and backward and return its loss, equal on all ranks."""
        trainer = self.trainer
        model.train()
        if callable(getattr(trainer.optimizer, "train", None)):
            trainer.optimizer.train()
        plan, halved = inputs.plan, 0
        while True:
            if halved < trainer.seen.halvings:
                while halved < trainer.seen.halvings:
                    plan, halved = batching.halve(plan), halved + 1
                inputs = trainer.dataset()[plan]
            self.plan = plan
            seeding.seed_step(trainer.args.seed, self.number - 1, trainer.args.process_index)
            try:
                return self._attempt(model, inputs)
            except OutOfMemory as error:
                self.cut_smaller(error)
                model.zero_grad()
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                self._give_up(error)

    def cut_smaller(self, error: BaseException) -> None:
        """Halve micro-batches from now on; the rows of the global batch stay the same."""
        trainer = self.trainer
        largest = ranks.largest(
            max(len(micro.rows) for micro in self.plan), trainer.args.world_size, "cpu"
        )
        if largest == 1:
            raise refusal.out_of_memory(self.number, largest) from error
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        before = trainer.micro_batch_size
        trainer.seen.halvings += 1
        self.events.add(
            self.number,
            "out_of_memory",
            f"Memory ran out at step {self.number}; micro-batches are halved to "
            f"{trainer.micro_batch_size}, which changes no result.",
            before=before,
            micro_batch_size=trainer.micro_batch_size,
        )

    def _give_up(self, error: BaseException) -> None:
        """End where ranks meet within a pass, so that the others could not be told.

        Raises:
            NumericsError: Always; the next attempt cuts batches smaller by itself.
        """
        trainer = self.trainer
        largest = max(len(micro.rows) for micro in self.plan)
        if largest > 1:
            resuming.remember_plan(Path(trainer.args.output_dir), trainer.seen.halvings + 1)
        raise refusal.out_of_memory(self.number, largest, resumable=largest > 1) from error

    def _attempt(self, model: nn.Module, inputs: StepBatch) -> Tensor:
        trainer = self.trainer
        batches = [trainer._prepare_inputs(batch) for batch in inputs.batches]
        fillers = [micro.filler for micro in inputs.plan]
        units = step.units(trainer.task, batches, fillers, trainer.args.world_size)
        if units == 0:
            return self._skip(model)
        mean = step.backward(
            trainer.task,
            model,
            batches,
            fillers,
            units=units,
            world=trainer.args.world_size,
            exchange=trainer.exchange(model),
            inner=trainer.accelerator.unwrap_model(model),
            precision=trainer.compute_loss_context_manager,
        )
        loss = float(mean)
        if not math.isfinite(loss):
            self.not_finite(model, f"The loss is {loss}")
            return torch.zeros_like(mean)
        self._look_at(loss)
        trainer.seen.count(loss, units)
        return mean

    def _look_at(self, loss: float) -> None:
        """Report a loss out of the ordinary."""
        factor = self.watch.spike_factor
        usual = self.trainer.seen.watch.usual(loss, factor) if factor is not None else None
        if usual is not None:
            self.events.add(
                self.number,
                "loss_spike",
                f"The loss of step {self.number} is {loss:.4g}, where {usual:.4g} was usual.",
                loss=loss,
                usual=usual,
                rows=self._row_ids(self._rows_of_plan())[: refusal.NAMED],
            )

    def _skip(self, model: nn.Module) -> Tensor:
        """Leave a batch without a trainable unit out.

        Without gradients an optimiser touches neither weights nor moments, nor decays weights.
        """
        model.zero_grad()
        seen = self.trainer.seen
        seen.skipped.append(self.number)
        self.events.add(
            self.number,
            "skipped",
            f"Nothing in the batch of step {self.number} carries loss; it is left out.",
            rows=self._row_ids(self._rows_of_plan())[: refusal.NAMED],
        )
        seen.count(0.0, 0.0)
        if len(seen.skipped) > self.trainer.state.max_steps // 2:
            raise DataError(
                "More than half of the training batches have no token that carries loss.",
                fix="Check data.columns and the answers in the data; "
                "`data/audit.json` counts untrainable rows.",
            )
        return torch.zeros((), device=self.trainer.args.device)

    def not_finite(self, model: nn.Module, what: str) -> None:
        """Leave the batch out where that is allowed, else stop before the optimiser step.

        Raises:
            NumericsError: It is not allowed, or too often by now; the rows are named.
        """
        trainer, seen = self.trainer, self.trainer.seen
        numbers = self._rows_of_plan()
        if not trainer.is_sharded:
            inner = trainer.accelerator.unwrap_model(model)
            numbers = refusal.guilty(trainer.task, inner, trainer.train_rows, numbers)
        found = ranks.gathered(self._row_ids(numbers), trainer.args.world_size)
        ids = [name for part in found for name in part]
        model.zero_grad()
        if len(seen.not_finite) < self.watch.max_nonfinite_steps:
            seen.not_finite.append(self.number)
            left = self.watch.max_nonfinite_steps - len(seen.not_finite)
            self.events.add(
                self.number,
                "not_finite",
                f"{what} at step {self.number}; its batch is left out ({left} more may be).",
                rows=ids[: refusal.NAMED],
            )
            return
        trainer.publisher.wait()
        kept = checkpoint.all_in(Path(trainer.args.output_dir))
        raise refusal.not_finite(what, step=self.number, ids=ids, last=kept[-1] if kept else None)

    def _rows_of_plan(self) -> list[int]:
        return [row for micro in self.plan if not micro.filler for row in micro.rows]

    def _row_ids(self, numbers: Sequence[int]) -> list[str]:
        return [str(self.trainer.train_rows.ids[row]) for row in numbers]
