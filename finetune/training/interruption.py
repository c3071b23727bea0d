"""Save or stop when asked: by a signal, by a file, by the clock; all ranks at the same step."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from finetune.errors import Interrupted, TimeIsUp
from finetune.runs import storage
from finetune.training import ranks

STOPPING = (signal.SIGINT, signal.SIGTERM)
SAVING = getattr(signal, "SIGUSR1", None)
NOTHING, SAVE, OUT_OF_TIME, STOP = 0, 1, 2, 3
"""What can be asked for; from STOP on, the number of the signal is added."""
ECHO_SECONDS = 1.0
"""A launcher passes on the signal that a terminal has already sent to everybody."""
GOES_ON = "The same command goes on from there."
LOOK_SECONDS = 1.0
"""How often the file is looked for."""


class Interruption(TrainerCallback):
    """Remembers what was asked for and does it at the end of the step.

    A first SIGINT or SIGTERM ends training after the step, with a checkpoint; a second one ends it
    at once. SIGUSR1, or a file, asks for a checkpoint and lets training go on.

    Args:
        file: Asks for a checkpoint by being there; removed when it is heeded.
        max_hours: Training ends, with a checkpoint, after so many hours.
        save_minutes: A checkpoint is written when the last one is older.
    """

    def __init__(
        self,
        *,
        file: Path | None = None,
        max_hours: float | None = None,
        save_minutes: float | None = None,
    ) -> None:
        self.file, self.max_hours, self.save_minutes = file, max_hours, save_minutes
        self.asked = NOTHING
        self.urgent = False  # who asks for a checkpoint may end the process right after it
        self.begun = self.saved = self.looked = time.monotonic()
        self.signalled = 0.0

    @property
    def stops(self) -> bool:
        """Whether training ends before it is over."""
        return self.asked >= OUT_OF_TIME

    @property
    def signal(self) -> int:
        """The signal that ends training, or 0."""
        return max(self.asked - STOP, 0)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Take signals over while the block runs; only the main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = [*STOPPING, SAVING] if SAVING is not None else list(STOPPING)
        before = {number: signal.getsignal(number) for number in numbers}
        for number in numbers:
            signal.signal(number, self._save if number == SAVING else self._stop)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _save(self, number: int, frame: Any) -> None:
        del number, frame
        self.asked = max(self.asked, SAVE)

    def _stop(self, number: int, frame: Any) -> None:
        del frame
        if self.signal:
            launched = "TORCHELASTIC_RUN_ID" in os.environ
            if launched and time.monotonic() - self.signalled < ECHO_SECONDS:
                return
            raise Interrupted(
                number,
                f"Stopped at once by a second {signal.Signals(number).name}; "
                "the step was not finished.",
                fix="The same command goes on from the last checkpoint.",
            )
        self.signalled = time.monotonic()
        self.asked = STOP + number

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the clocks."""
        del args, state, control, kwargs
        self.begun = self.saved = self.looked = time.monotonic()

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the clock of the next checkpoint."""
        del args, state, control, kwargs
        self.saved = time.monotonic()
        self.urgent = False

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Ask for a checkpoint, and for the end, on all ranks at the same step."""
        del state, kwargs
        self._look()
        asked = ranks.largest(self.asked, args.world_size, args.device)
        self.urgent = asked >= SAVE
        if asked >= OUT_OF_TIME:
            control.should_save = control.should_training_stop = True
            self.asked = asked
        elif asked == SAVE:
            control.should_save = True
            self.asked = NOTHING if self.asked == SAVE else self.asked

    def _look(self) -> None:
        """Notice the file and the clocks."""
        now = time.monotonic()
        if self.max_hours is not None and now - self.begun >= self.max_hours * 3600:
            self.asked = max(self.asked, OUT_OF_TIME)
        if self.save_minutes is not None and now - self.saved >= self.save_minutes * 60:
            self.asked = max(self.asked, SAVE)
        if self.file is not None and now - self.looked >= LOOK_SECONDS:
            self.looked = now
            if self.file.exists():
                with storage.explained(self.file):
                    self.file.unlink()
                self.asked = max(self.asked, SAVE)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Leave out the evaluation of an epoch that was broken off."""
        del args, kwargs
        broken_off = (
            not float(state.epoch or 0).is_integer() and state.global_step < state.max_steps
        )
        if self.stops and broken_off:
            control.should_save = control.should_evaluate = False

    def raise_if_asked(self, step: int) -> None:
        """End the run when training was ended before it was over.

        Raises:
            Interrupted: By a signal.
            TimeIsUp: By the clock.
        """
        saved = f"after step {step}, which is saved as checkpoint step-{step}."
        if self.signal:
            name = signal.Signals(self.signal).name
            raise Interrupted(self.signal, f"Stopped by {name} {saved}", fix=GOES_ON)
        if self.stops:
            raise TimeIsUp(
                f"The time budget train.max_hours={self.max_hours:g} is used up {saved}",
                fix=GOES_ON,
            )
