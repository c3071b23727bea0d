"""From a plan of rows to tensors: the data loader, one item per optimiser step."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Sequence
from typing import Any

from torch.utils.data import DataLoader

from finetune.training.batching import MicroBatch, StepBatch, Visit


class StepDataset:
    """Makes a StepBatch from a plan: the DataLoader's dataset, so that workers can do it.

    Args:
        rows: Number of rows.
        fetch: Row numbers and their visits → features.
        collate: Features → batch.
    """

    def __init__(
        self,
        rows: int,
        fetch: Callable[[Sequence[int], Sequence[Visit]], list[dict[str, Any]]],
        collate: Callable[[Sequence[dict[str, Any]]], dict[str, Any]],
    ) -> None:
        self.rows, self.fetch, self.collate = rows, fetch, collate

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, plan: list[MicroBatch]) -> StepBatch:
        return StepBatch(
            plan, [self.collate(self.fetch(micro.rows, micro.visits)) for micro in plan]
        )


class StepLoader(DataLoader):
    """A DataLoader that passes the epoch on to its sampler."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch."""
        self.batch_sampler.set_epoch(epoch)


def only(items: list[StepBatch]) -> StepBatch:
    """Collate a list of one: the plan already is the whole step."""
    return items[0]


def heed_the_parent_alone(worker: int) -> None:
    """In a loader worker: only the process that made it ends it, not a signal to the group."""
    del worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if not hasattr(signal, "sigwaitinfo"):
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def wait() -> None:
        while True:
            if signal.sigwaitinfo({signal.SIGTERM}).si_pid == os.getppid():
                os._exit(0)

    threading.Thread(target=wait, daemon=True).start()
