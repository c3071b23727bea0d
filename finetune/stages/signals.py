"""Stop when asked, outside of training too: a signal ends the stage that runs, in one sentence."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from finetune.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)
ECHO_SECONDS = 0.5
"""A launcher passes on what the terminal has sent already: the same request, not a second one."""


class StopError(BaseException):
    """A signal came; no `except Exception` on the way may take it for a failure of its own."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextlib.contextmanager
def heeded(during: Callable[[], str | None]) -> Iterator[None]:
    """End the block when the process is asked to stop; a second request ends the process at once.

    Training sets handlers of its own and gives these back. Signals that were ignored before, as
    under `nohup`, stay ignored; outside of the main thread nothing is changed.

    Args:
        during: Returns the stage that runs, for the sentence.

    Raises:
        Interrupted: A signal came.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    owner, came, asked = os.getpid(), 0.0, 0

    def stop(number: int, frame: Any) -> None:
        del frame
        nonlocal came, asked
        if os.getpid() != owner:  # a child that inherited this
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        now = time.monotonic()
        if asked and now - came < ECHO_SECONDS:
            return
        if asked:
            sys.stderr.flush()
            os._exit(128 + number)
        came, asked = now, number
        raise StopError(number)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    taken = [number for number in SIGNALS if before[number] is not signal.SIG_IGN]
    for number in taken:
        signal.signal(number, stop)
    try:
        yield
    except StopError as error:
        raise told(error.number, during()) from None
    except Exception:
        if asked:  # what failed is what the signal has broken off
            raise told(asked, during()) from None
        raise
    finally:
        for number in taken:
            signal.signal(number, before[number])
    if asked:  # swallowed on the way, in a destructor for one
        raise told(asked, during())


def told(number: int, stage: str | None) -> Interrupted:
    """Return the sentence for a signal."""
    name = signal.Signals(number).name
    when = f"during {stage}" if stage else "before the first stage"
    return Interrupted(
        number, f"Stopped by {name} {when}.", fix="The same command goes on from there."
    )
