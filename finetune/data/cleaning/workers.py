"""Batches cleaned here or by several processes, in the same order and with the same result."""

from __future__ import annotations

import multiprocessing
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.data.cleaning.base import Step
from finetune.data.cleaning.batch import Outcome, clean_batch

if TYPE_CHECKING:
    import pyarrow as pa

PARALLEL_ROWS = 100_000
"""Rows from which processes earn back the seconds that it costs to start them."""
AHEAD = 2
"""Batches that wait for each process: enough to keep it busy, few enough for any memory."""


def outcomes(
    batches: Iterable[pa.RecordBatch],
    columns: Sequence[str],
    steps: Sequence[Step],
    *,
    workers: int = 1,
) -> Iterator[tuple[pa.RecordBatch, Outcome]]:
    """Yield each batch with what became of it, in order.

    Processes are spawned, and each imports the script that was started: only one that keeps its
    work under ``if __name__ == "__main__"`` gets any. Where there are none, or they die, what is
    left is done here.

    Args:
        batches: Rows.
        columns: Which of their columns to clean.
        steps: Those that do something.
        workers: Processes at most; 1 does everything here.
    """
    stream = iter(batches)
    if workers > 1 and _may_spawn():
        waiting: deque[tuple[pa.RecordBatch, Future[Outcome] | None]] = deque()
        with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
            try:
                for batch in stream:
                    waiting.append((batch, None))
                    waiting[-1] = (batch, _submit(pool, batch, columns, steps))
                    if len(waiting) > AHEAD * workers:
                        yield _first(waiting)
                while waiting:
                    yield _first(waiting)
            except BrokenProcessPool:
                stream = chain([batch for batch, _ in waiting], stream)
    for batch in stream:
        yield batch, clean_batch(batch, columns, steps)


def _may_spawn() -> bool:
    """Tell whether a new process would do what it is told, and not what the script does."""
    main = sys.modules["__main__"]
    file = getattr(main, "__file__", None)
    if multiprocessing.parent_process() is not None:
        return False
    if file is None or main.__spec__ is not None:
        return True  # a notebook, or `python -m`
    return b"__main__" in Path(file).read_bytes()


def _first(
    waiting: deque[tuple[pa.RecordBatch, Future[Outcome] | None]],
) -> tuple[pa.RecordBatch, Outcome]:
    """Take off the list what is done; what a dead process left undone stays on it."""
    batch, future = waiting[0]
    assert future is not None
    outcome = future.result()
    waiting.popleft()
    return batch, outcome


def _submit(
    pool: ProcessPoolExecutor, batch: pa.RecordBatch, columns: Sequence[str], steps: Sequence[Step]
) -> Future[Outcome]:
    # As a message, since pickling a slice would send everything it was cut from.
    part = batch.select(list(columns))
    return pool.submit(_from_message, part.serialize().to_pybytes(), part.schema, columns, steps)


def _from_message(
    message: bytes, schema: pa.Schema, columns: Sequence[str], steps: Sequence[Step]
) -> Outcome:
    import pyarrow as pa

    return clean_batch(pa.ipc.read_record_batch(message, schema), columns, steps)
