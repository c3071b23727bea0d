"""Hash, sync and rename a checkpoint while training goes on: one at a time, and waited for.

The files of a checkpoint are written when it is asked for, so that they hold that step's numbers:
into the system's cache, which takes no memory of this process. What takes longest, and needs
neither model nor optimiser, is left to a thread. Until that has renamed the folder there is no
new checkpoint, and the one before counts.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator


class Publisher:
    """Publishes what has been written, at once or in a thread of its own.

    Args:
        in_background: Whether training goes on meanwhile.
    """

    def __init__(self, *, in_background: bool = False) -> None:
        self.in_background = in_background
        self.thread: threading.Thread | None = None
        self.error: BaseException | None = None

    def begin(self, publish: Callable[[], None]) -> None:
        """Publish a checkpoint, once the one before is published.

        Args:
            publish: Does it; nothing of its own stays when it fails.
        """
        self.wait()
        if not self.in_background:
            publish()
            return

        def run() -> None:
            try:
                publish()
            except BaseException as error:  # raised where it is waited for
                self.error = error

        # No daemon: an interpreter that ends waits for it. A kill leaves the checkpoint before.
        self.thread = threading.Thread(target=run, name="checkpoint", daemon=False)
        self.thread.start()

    def wait(self) -> None:
        """Return when nothing is being published any more, and raise what went wrong with it."""
        if self.thread is not None:
            self.thread.join()
            self.thread = None
        error, self.error = self.error, None
        if error is not None:
            raise error

    @contextlib.contextmanager
    def finishing(self) -> Iterator[None]:
        """Leave the block only when all is published, also by an error, which goes before ours."""
        try:
            yield
        except BaseException:
            with contextlib.suppress(Exception):
                self.wait()
            raise
        self.wait()
