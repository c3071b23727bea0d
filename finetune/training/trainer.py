"""The Trainer: transformers' loop with our batches, divided once by the global units."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch.utils.data import DataLoader
from transformers import Trainer

from finetune.tasks.base import CoupledTask, Task
from finetune.training import batching, checkpoint, layout, ranks, resuming, sampling, validation
from finetune.training.batching import Batching, StepBatch
from finetune.training.best import wins_tie
from finetune.training.events import Events
from finetune.training.exchange import Exchange
from finetune.training.loader import StepDataset, StepLoader, heed_the_parent_alone, only
from finetune.training.publishing import Publisher
from finetune.training.rows import Rows
from finetune.training.seen import Seen
from finetune.training.stepper import Stepper, Watch

if TYPE_CHECKING:
    from torch import Tensor, nn


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
        events: Where what happens is written down.
        watch: What is done about numbers out of the ordinary.
        precision: Of the computation: fp32, bf16 or fp16.
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
        events: Events,
        watch: Watch,
        precision: str = "fp32",
        callbacks: Sequence[Any] = (),
    ) -> None:
        self.task, self.train_rows, self.validation_rows = task, train_rows, validation_rows
        self.cut, self.facts, self.seen, self.precision = cut, facts, seen, precision
        self.stepper = Stepper(self, events, watch)
        self.publisher = Publisher()
        super().__init__(
            model=model,
            args=args,
            train_dataset=range(len(train_rows)),
            eval_dataset=[],
            callbacks=list(callbacks),
        )
        self.model_accepts_loss_kwargs = False
        self.layout = layout.of(self)
        self.without_padding: Callable[[], AbstractContextManager[Any]] = contextlib.nullcontext

    @property
    def micro_batch_size(self) -> int:
        """Most rows of a forward pass, as memory allowed."""
        size = self.cut.micro_batch_size
        for _ in range(self.seen.halvings):
            size = (size + 1) // 2
        return size

    def create_optimizer(self, model: Any = None) -> Any:
        """Return the optimiser, of which the layout takes note before it is wrapped."""
        optimizer = super().create_optimizer(model)
        self.layout.note(optimizer)
        return optimizer

    def _prepare_for_training(self, max_steps: int, loader: Any, checkpoint: Any) -> Any:
        """Wrap first, then take up a checkpoint, whose form no library would know."""
        with self.layout.cutting():
            prepared = super()._prepare_for_training(max_steps, loader, None)
        self._load_optimizer_and_scheduler(checkpoint)
        return prepared

    # -- batches -------------------------------------------------------------------------------

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return a loader of StepBatch, one per optimiser step."""
        rows = self.train_rows
        sampler = batching.StepSampler(
            sampling.order(len(rows), rows.classes, seed=self.args.seed),
            size=self.cut.global_batch_size,
            micro=self.cut.micro_batch_size,
            rank=self.args.process_index,
            world=self.args.world_size,
            lengths=rows.lengths if self.cut.group_by_length else None,
        )
        return StepLoader(
            self.dataset(),
            batch_sampler=sampler,
            collate_fn=only,
            num_workers=self.cut.workers,
            worker_init_fn=heed_the_parent_alone,
        )

    def dataset(self) -> StepDataset:
        """Return what makes batches from plans."""
        return StepDataset(len(self.train_rows), self.train_rows.fetch, self.task.collate)

    def _get_num_items_in_batch(self, batch_samples: Any, device: Any) -> None:
        """Leave the counting to `training_step`."""
        del batch_samples, device

    # -- one optimiser step --------------------------------------------------------------------

    @contextlib.contextmanager
    def autocast_smart_context_manager(self, cache_enabled: bool | None = True) -> Iterator[None]:
        """Open the context that a loss is computed in."""
        precision = self.layout.precision() or super().autocast_smart_context_manager(cache_enabled)
        with precision, self.without_padding():
            yield

    def exchange(self, model: nn.Module) -> Exchange:
        """Return how ranks come to one gradient."""
        return self.layout.exchange(model)

    @property
    def is_sharded(self) -> bool:
        """Whether no rank holds the whole model."""
        return not self.layout.is_whole

    def training_step(
        self, model: nn.Module, inputs: StepBatch, num_items_in_batch: Any = None
    ) -> Tensor:
        """Run a global batch forward and backward and return its loss, equal on all ranks."""
        del num_items_in_batch
        return self.stepper.run(model, inputs)

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        """Return the norm of the global batch's gradient, refusing one that is not finite."""
        if not self.layout.has_gradient(model):
            return 0.0  # a batch that was left out
        norm = super()._get_grad_norm(model, grad_norm=self.layout.norm(grad_norm))
        value = float(norm) if norm is not None else 0.0
        if not math.isfinite(value) and getattr(self.accelerator, "scaler", None) is None:
            self.stepper.not_finite(model, f"The gradient's norm is {value}")
        return norm

    def floating_point_ops(self, inputs: Any) -> int:
        """Count nothing: a StepBatch is not what transformers' estimate expects."""
        del inputs
        return 0

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, with a mean loss that a resumed run takes over the same steps."""
        if "loss" in logs:
            logs["loss"] = self.seen.line()
        super().log(logs, start_time)
        self.state.log_history.clear()

    # -- validation ----------------------------------------------------------------------------

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Score the validation rows; training goes on as if it had not happened."""
        del eval_dataset, ignore_keys
        rows = self.validation_rows
        assert rows is not None
        model = self.accelerator.unwrap_model(self.model)
        was_training = model.training
        model.eval()
        rank, world = self.args.process_index, self.args.world_size
        together = self.is_sharded or isinstance(self.task, CoupledTask)
        places, world = validation.share(len(rows), rank=rank, world=world, together=together)
        part = validation.judge(
            self.task,
            model,
            rows,
            places,
            batch_size=validation.batch_size(self.task, self.cut.micro_batch_size),
            precision=self.compute_loss_context_manager,
        )
        metrics = validation.scores(self.task, ranks.gathered(part, world), metric_key_prefix)
        model.train(was_training)
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        """Remember the best step, and have it saved whatever else asks for checkpoints."""
        known = {"best": self.state.best_metric, "best_loss": self.seen.best_loss}
        ahead = bool(super()._determine_best_metric(metrics, trial))
        ahead = ahead or wins_tie(metrics, str(self.args.metric_for_best_model), **known)
        if ahead:
            self.state.best_global_step = self.state.global_step
            self.seen.best_loss = metrics["eval_loss"]
            self.control.should_save = True
        return ahead

    # -- checkpoints ---------------------------------------------------------------------------

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Stage a checkpoint, then publish it whole; rank 0 alone writes."""
        del trial
        target = Path(self.args.output_dir) / f"step-{self.state.global_step}"
        inner = self.accelerator.unwrap_model(model)
        keep = bool(self.args.should_save)
        weights = self.layout.weights(inner, keep=keep)
        optimizer = self.layout.moments(self.optimizer, keep=keep)
        if keep:
            self.publisher.wait()  # the one before is out of the way, and its errors are told
            with checkpoint.staged(target, needed=resuming.size(inner, optimizer)) as staging:
                checkpoint.write_weights(inner, staging, weights)
                resuming.write(
                    staging,
                    optimizer=optimizer,
                    scheduler=self.lr_scheduler,
                    scaler=getattr(self.accelerator, "scaler", None),
                    seen=self.seen,
                    state=resuming.current_state(self),
                )
            self.publisher.begin(self._publishing(staging, target))
            if any(getattr(each, "urgent", False) for each in self.callback_handler.callbacks):
                self.publisher.wait()
        ranks.barrier(self.args.world_size)

    def _publishing(self, staged: Path, target: Path) -> Callable[[], None]:
        """Return what publishes a checkpoint with its facts, which are those of now."""
        facts = {
            **self.facts,
            "step": self.state.global_step,
            "world_size": self.args.world_size,
            "ended": self.state.global_step >= self.state.max_steps or self._stopped_early(),
        }
        keep, best = self.args.save_total_limit or 2, self.state.best_global_step
        return functools.partial(checkpoint.publish, staged, target, facts, keep=keep, best=best)

    def _stopped_early(self) -> bool:
        """Tell whether a callback has called training finished, which a signal does not."""
        return self.control.should_training_stop and not any(
            getattr(callback, "stops", False) for callback in self.callback_handler.callbacks
        )

    def load_weights(self, checkpoint: Path) -> None:
        """Load a checkpoint's weights, before anything is wrapped or cut."""
        super()._load_from_checkpoint(str(checkpoint))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Leave it to `load_weights`."""

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Take up what the checkpoint holds beside the weights."""
        if checkpoint is not None:
            resuming.read(
                Path(checkpoint),
                optimizer=self.optimizer,
                scheduler=self.lr_scheduler,
                scaler=getattr(self.accelerator, "scaler", None),
                seen=self.seen,
                give=self.layout.take_up,
            )

    def _load_scaler(self, checkpoint: str | None) -> None:
        """Leave it to `_load_optimizer_and_scheduler`."""

    def _load_rng_state(self, checkpoint: str | None) -> None:
        """Load nothing: a step's randomness follows from seed and step."""

    def save_last(self) -> None:
        """Write a checkpoint of where training ended, unless there is one."""
        self.publisher.wait()
        ranks.barrier(self.args.world_size)  # the others have nothing to wait for, and look below
        if not (Path(self.args.output_dir) / f"step-{self.state.global_step}").is_dir():
            self._save_checkpoint(self.model_wrapped, None)
