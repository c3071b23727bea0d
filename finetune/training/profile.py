"""Measure where the time of training goes; nothing of this is imported unless it is asked for."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback

from finetune.runs import storage
from finetune.tasks.base import CoupledTask
from finetune.training import work
from finetune.training.profile_page import Measured, page

if TYPE_CHECKING:
    from finetune.training.trainer import TaskTrainer

WARM, TRACED = 3, 3
"""Steps before the trace, and steps in it."""
WHOLE = ("evaluation", "checkpoints", "logging")
"""Parts that aren't divided further: what runs within them counts as them."""


class Spans:
    """Adds up seconds by name; a span within another is taken out of it.

    Args:
        synchronise: Waits until a device has done what it was given.
    """

    def __init__(self, synchronise: Callable[[], None] = lambda: None) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.open: list[str] = []
        self.since, self.synchronise = 0.0, synchronise
        self.wrapped: list[tuple[Any, str]] = []

    def _turn(self) -> None:
        self.synchronise()
        now = time.perf_counter()
        if self.open:
            self.seconds[self.open[-1]] += now - self.since
        self.since = now

    def begin(self, name: str) -> bool:
        """Open a span, unless it lies within one that isn't divided."""
        if self.open and self.open[-1] in WHOLE:
            return False
        self._turn()
        self.open.append(name)
        return True

    def end(self) -> None:
        """Close the span that was opened last."""
        self._turn()
        self.open.pop()

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Count the block under a name."""
        opened = self.begin(name)
        try:
            yield
        finally:
            if opened:
                self.end()

    def wrap(self, owner: Any, attribute: str, name: str) -> None:
        """Count the calls of an object's method under a name."""
        setattr(owner, attribute, self.counted(getattr(owner, attribute), name))
        self.wrapped.append((owner, attribute))

    def unwrap(self) -> None:
        """Let all methods be those of their classes again."""
        for owner, attribute in self.wrapped:
            vars(owner).pop(attribute, None)
        self.wrapped.clear()

    def counted(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        """Return a function that counts its time under a name."""

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            with self(name):
                return function(*args, **kwargs)

        return call


class Profile(TrainerCallback):
    """Measures the parts of each step, traces a few, and writes a page about it.

    Args:
        trainer: Whose methods are measured.
        folder: Where the page and the trace go.
    """

    def __init__(self, trainer: TaskTrainer, folder: Path) -> None:
        self.trainer, self.folder = trainer, folder
        self.cuda = torch.cuda.is_available() and trainer.args.device.type == "cuda"
        self.spans = Spans(torch.cuda.synchronize if self.cuda else lambda: None)
        self.profiler: Any = None
        self.operators: dict[str, float] = {}
        self.begun, self.first, self.flops, self.tokens = 0.0, 0, 0.0, 0
        self.hooks: list[Any] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Measure from now on."""
        del args, control
        trainer, spans = self.trainer, self.spans
        self.need = work.Need(trainer.accelerator.unwrap_model(trainer.model))
        spans.wrap(trainer, "get_batch_samples", "data")
        spans.wrap(trainer, "evaluate", "evaluation")
        spans.wrap(trainer, "_save_checkpoint", "checkpoints")
        spans.wrap(trainer, "log", "logging")
        spans.wrap(trainer.accelerator, "clip_grad_norm_", "clipping")
        spans.wrap(kwargs["optimizer"], "step", "optimiser")
        exchange = trainer.exchange

        def measured_exchange(model: Any) -> Any:
            made = exchange(model)
            made.backward = spans.counted(made.backward, "backward")  # type: ignore[method-assign]
            return made

        trainer.exchange = measured_exchange  # type: ignore[method-assign]
        spans.wrapped += [(trainer, "exchange"), (trainer, "training_step")]
        step, coupled = trainer.training_step, isinstance(trainer.task, CoupledTask)

        def measured_step(model: Any, inputs: Any, items: Any = None) -> Any:
            for batch in inputs.batches:
                tokens, flops = self.need.of(batch)
                self.tokens, self.flops = self.tokens + tokens, self.flops + flops
            with spans("forward" if coupled else "python"):
                return step(model, inputs, items)

        trainer.training_step = measured_step  # type: ignore[method-assign, assignment]
        spans.wrap(trainer.task, "loss", "head and loss")
        trunk = self.need.trunk
        if trunk is not None and not coupled:
            opened: list[bool] = []
            self.hooks = [
                trunk.register_forward_pre_hook(lambda *_: opened.append(spans.begin("forward"))),
                trunk.register_forward_hook(
                    lambda *_: spans.end() if opened and opened.pop() else None
                ),
            ]
        self.first, self.begun = state.global_step, time.perf_counter()

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin the trace once steps are as they will be."""
        del args, control, kwargs
        wait = min(WARM, max(0, state.max_steps - self.first - TRACED))
        if self.profiler is None and state.global_step == self.first + wait:
            os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it writes its stages to stderr
            kinds = [torch.profiler.ProfilerActivity.CPU]
            kinds += [torch.profiler.ProfilerActivity.CUDA] if self.cuda else []
            with self.spans("profiling"):
                self.profiler = torch.profiler.profile(activities=kinds)
                self.profiler.__enter__()
            self.traced = state.global_step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """End the trace."""
        del args, kwargs, control
        if self.profiler is not None and not self.operators:
            done = state.global_step - self.traced
            if done >= TRACED or state.global_step >= state.max_steps:
                with self.spans("profiling"):
                    self._end_trace(done)

    def _end_trace(self, steps: int) -> None:
        self.profiler.__exit__(None, None, None)
        own = "self_device_time_total" if self.cuda else "self_cpu_time_total"
        self.operators = {
            event.key: getattr(event, own, 0.0) / 1e6 for event in self.profiler.key_averages()
        }
        self.traced = steps
        with storage.temporary_file(self.folder / "trace.json") as temporary:
            self.profiler.export_chrome_trace(str(temporary))

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write the page."""
        del control, kwargs
        seconds = time.perf_counter() - self.begun
        self.spans.unwrap()
        for hook in self.hooks:
            hook.remove()
        if self.profiler is not None and not self.operators:
            self._end_trace(state.global_step - self.traced)
        measured = Measured(
            seconds=seconds,
            parts={name: value for name, value in self.spans.seconds.items() if name != "python"},
            steps=state.global_step - self.first,
            device=str(args.device),
            operators=self.operators,
            traced_steps=self.traced if self.operators else 0,
            tokens=self.tokens,
            flops=self.flops or None,
            rate=work.rate(args.device, self.trainer.precision),
        )
        target = self.folder / "profile.md"
        storage.write_text(target, page(measured))
        storage.write_json(self.folder / "profile.json", {**vars(measured)})
        sys.stderr.write(f"   profile  {target}\n")
