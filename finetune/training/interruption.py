"""Stop when asked: Ctrl-C or a termination signal ends training with a checkpoint."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

from transformers import TrainerCallback

from finetune.errors import Interrupted
from finetune.training import ranks

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption(TrainerCallback):
    """Remembers a signal and ends training at the next step; a second signal ends it at once."""

    def __init__(self) -> None:
        self.signal = 0

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Take signals over while the block runs; only the main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in SIGNALS}

        def remember(number: int, frame: Any) -> None:
            del frame
            self.signal = number
            for each, handler in before.items():
                signal.signal(each, handler)

        for number in SIGNALS:
            signal.signal(number, remember)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Ask for a checkpoint and the end, on all ranks at the same step."""
        del state, kwargs
        self.signal = ranks.largest(self.signal, args.world_size, args.device)
        if self.signal:
            control.should_save = control.should_training_stop = True

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Leave out the evaluation of an epoch that was broken off."""
        del args, kwargs
        broken_off = (
            not float(state.epoch or 0).is_integer() and state.global_step < state.max_steps
        )
        if self.signal and broken_off:
            control.should_save = control.should_evaluate = False

    def raise_if_asked(self, step: int) -> None:
        """End the run when training was ended by a signal.

        Raises:
            Interrupted: It was.
        """
        if self.signal:
            raise Interrupted(
                self.signal,
                f"Stopped by {signal.Signals(self.signal).name} after step {step}, "
                f"which is saved as checkpoint step-{step}.",
                fix="The same command goes on from there.",
            )
