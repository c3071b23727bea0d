"""The Trainer: transformers' loop with our batches, divided once by the global units."""

from __future__ import annotations

import gc
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader
from transformers import Trainer

from finetune.errors import DataError
from finetune.runs import storage
from finetune.tasks.base import Task
from finetune.training import batching, checkpoint, ranks, refusal, sampling, step, validation
from finetune.training.batching import Batching, StepBatch
from finetune.training.coupled import random_state, restore
from finetune.training.loader import StepDataset, StepLoader, only
from finetune.training.rows import Rows

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass
class Seen:
    """What the trainer counted; callbacks read it."""

    counter: dict[str, float] = field(default_factory=lambda: {"units": 0.0})
    """Units since the last line of the log."""
    skipped: list[int] = field(default_factory=list)
    """Steps without a trainable unit."""


class TaskTrainer(Trainer):
    """Trains a Task. The gradient depends on the global batch and on nothing else.

    The data loader yields one item per optimiser step: this rank's share of the global batch, as
    micro-batches. `training_step` goes through them and divides once, by the units of all ranks.

    Args:
        model: With its trainable weights marked.
        args: transformers' TrainingArguments; gradient accumulation there stays 1.
        task: Loss, answers and scores.
        train_rows: Training split.
        validation_rows: What is scored while training; None scores nothing.
        cut: How the global batch is cut.
        facts: Recorded in each checkpoint's manifest.
        seen: What callbacks read.
        callbacks: Beside transformers' own flow.
    """

    control: Any
    """transformers' switches: what callbacks ask for."""

    def __init__(
        self,
        model: nn.Module,
        args: Any,
        *,
        task: Task,
        train_rows: Rows,
        validation_rows: Rows | None,
        cut: Batching,
        facts: Mapping[str, Any],
        seen: Seen,
        callbacks: Sequence[Any] = (),
    ) -> None:
        self.task, self.train_rows, self.validation_rows = task, train_rows, validation_rows
        self.cut, self.facts, self.seen = cut, facts, seen
        self._staging: Path | None = None
        self._plan: Sequence[batching.MicroBatch] = ()
        self._sampler: batching.StepSampler | None = None
        super().__init__(
            model=model,
            args=args,
            train_dataset=range(len(train_rows)),
            eval_dataset=[],
            callbacks=list(callbacks),
        )
        self.model_accepts_loss_kwargs = False

    # -- batches -------------------------------------------------------------------------------

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return a loader of StepBatch, one per optimiser step."""
        rows = self.train_rows
        self._sampler = batching.StepSampler(
            sampling.order(len(rows), rows.classes, seed=self.args.seed),
            size=self.cut.global_batch_size,
            micro=self.cut.micro_batch_size,
            rank=self.args.process_index,
            world=self.args.world_size,
            lengths=rows.lengths if self.cut.group_by_length else None,
        )
        return StepLoader(
            self._dataset(),
            batch_sampler=self._sampler,
            collate_fn=only,
            num_workers=self.cut.workers,
        )

    def _dataset(self) -> StepDataset:
        return StepDataset(len(self.train_rows), self.train_rows.fetch, self.task.collate)

    def _get_num_items_in_batch(self, batch_samples: Any, device: Any) -> None:
        """Leave the counting to `training_step`."""
        del batch_samples, device

    # -- one optimiser step --------------------------------------------------------------------

    def training_step(
        self, model: nn.Module, inputs: StepBatch, num_items_in_batch: Any = None
    ) -> Tensor:
        """Run a global batch forward and backward and return its loss, equal on all ranks."""
        del num_items_in_batch
        model.train()
        if callable(getattr(self.optimizer, "train", None)):
            self.optimizer.train()
        before = random_state()
        while True:
            self._plan = inputs.plan
            try:
                return self._attempt(model, inputs)
            except RuntimeError as error:  # torch.OutOfMemoryError is one
                if not refusal.is_out_of_memory(error):
                    raise
                inputs = self._smaller(inputs, error)
                model.zero_grad()
                restore(before)

    def _smaller(self, inputs: StepBatch, error: BaseException) -> StepBatch:
        """Return the same rows in half the micro-batches, and keep to that from now on."""
        largest = max(len(micro.rows) for micro in inputs.plan)
        if largest == 1 or self.args.world_size > 1:
            raise refusal.out_of_memory(self.state.global_step + 1, largest) from error
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self.cut = replace(self.cut, micro_batch_size=math.ceil(largest / 2))
        if self._sampler is not None:
            self._sampler.micro = self.cut.micro_batch_size
        return self._dataset()[batching.halve(inputs.plan)]

    def _attempt(self, model: nn.Module, inputs: StepBatch) -> Tensor:
        batches = [self._prepare_inputs(batch) for batch in inputs.batches]
        fillers = [micro.filler for micro in inputs.plan]
        units = step.units(self.task, batches, fillers, self.args.world_size)
        if units == 0:
            return self._skip(model)
        mean = step.backward(
            self.task,
            model,
            batches,
            fillers,
            units=units,
            world=self.args.world_size,
            accelerator=self.accelerator,
            precision=self.compute_loss_context_manager,
        )
        if not torch.isfinite(mean):
            self._refuse(f"The loss is {float(mean)}")
        self.seen.counter["units"] += units
        return mean

    def _skip(self, model: nn.Module) -> Tensor:
        """Leave a batch without a trainable unit out.

        Without gradients an optimiser touches neither weights nor moments, nor decays weights.
        """
        model.zero_grad(set_to_none=True)
        self.seen.skipped.append(self.state.global_step + 1)
        if len(self.seen.skipped) > self.state.max_steps // 2:
            raise DataError(
                "More than half of the training batches have no token that carries loss.",
                fix="Check data.columns and the answers in the data; "
                "`data/audit.json` counts untrainable rows.",
            )
        return torch.zeros((), device=self.args.device)

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        """Return the norm of the global batch's gradient, refusing one that is not finite."""
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        value = float(norm) if norm is not None else 0.0
        if not math.isfinite(value) and getattr(self.accelerator, "scaler", None) is None:
            self._refuse(f"The gradient's norm is {value}")
        return norm

    def _refuse(self, what: str) -> None:
        """Stop before the optimiser step, naming the rows."""
        numbers = [row for micro in self._plan if not micro.filler for row in micro.rows]
        model = self.accelerator.unwrap_model(self.model)
        found = refusal.guilty(self.task, model, self.train_rows, numbers)
        kept = checkpoint.all_in(Path(self.args.output_dir))
        raise refusal.not_finite(
            what,
            step=self.state.global_step + 1,
            ids=[str(self.train_rows.ids[row]) for row in found],
            last=kept[-1] if kept else None,
        )

    def floating_point_ops(self, inputs: Any) -> int:
        """Count nothing: a StepBatch is not what transformers' estimate expects."""
        del inputs
        return 0

    # -- validation ----------------------------------------------------------------------------

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Score the validation rows; training goes on as if it had not happened."""
        del eval_dataset, ignore_keys
        rows = self.validation_rows
        assert rows is not None
        model = self.accelerator.unwrap_model(self.model)
        was_training, state = model.training, random_state()
        model.eval()
        rank, world = self.args.process_index, self.args.world_size
        places, world = validation.share(self.task, len(rows), rank=rank, world=world)
        part = validation.judge(
            self.task,
            model,
            rows,
            places,
            batch_size=validation.batch_size(self.task, self.cut.micro_batch_size),
            precision=self.compute_loss_context_manager,
        )
        metrics = validation.scores(self.task, ranks.gathered(part, world), metric_key_prefix)
        restore(state)
        model.train(was_training)
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    # -- checkpoints ---------------------------------------------------------------------------

    def _get_output_dir(self, trial: Any) -> str:
        return str(self._staging) if self._staging is not None else super()._get_output_dir(trial)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """Write the trained weights alone: no pickled arguments, no base model of an adapter."""
        if self.args.should_save:
            model = self.accelerator.unwrap_model(self.model)
            checkpoint.write_weights(model, Path(output_dir or self.args.output_dir), state_dict)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Stage a checkpoint, then publish it whole; rank 0 alone commits."""
        folder = Path(self.args.output_dir)
        staging, name = folder / ".saving", f"step-{self.state.global_step}"
        inner = staging / f"checkpoint-{self.state.global_step}"
        with storage.explained(folder / name):
            if self.args.should_save:
                storage.remove_tree(staging)
                inner.mkdir(parents=True)
            ranks.barrier(self.args.world_size)
            self._staging = staging
            try:
                super()._save_checkpoint(model, trial)
            finally:
                self._staging = None
            ranks.barrier(self.args.world_size)
            if self.args.should_save:
                self.state.best_model_checkpoint = None  # it would name the staging folder
                self.state.save_to_json(str(inner / checkpoint.STATE))
                self._commit(inner, folder / name)
                storage.remove_tree(staging)
            ranks.barrier(self.args.world_size)

    def _commit(self, staged: Path, target: Path) -> None:
        """Publish a checkpoint with its facts and delete older ones."""
        facts = {
            **self.facts,
            "step": self.state.global_step,
            "world_size": self.args.world_size,
            "ended": self.state.global_step >= self.state.max_steps or self._stopped_early(),
        }
        checkpoint.commit(staged, target, facts)
        checkpoint.rotate(
            target.parent,
            keep=self.args.save_total_limit or 2,
            best=self.state.best_global_step,
        )

    def _stopped_early(self) -> bool:
        """Tell whether a callback has called training finished, which a signal does not."""
        return self.control.should_training_stop and not any(
            getattr(callback, "signal", 0) for callback in self.callback_handler.callbacks
        )

    def save_last(self) -> None:
        """Write a checkpoint of where training ended, unless there is one."""
        if not (Path(self.args.output_dir) / f"step-{self.state.global_step}").is_dir():
            self._save_checkpoint(self.model_wrapped, None)
