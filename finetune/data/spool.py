"""Arrow batches out of memory: written to a file nobody else sees, and mapped back as one table."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

MEMORY_BYTES = 64 << 20
"""Up to this size a table stays in memory: a file would only cost time."""


class Spool:
    """Takes record batches and gives them back as one table.

    What is small stays in memory. What is larger goes to a temporary file without a name, so that
    neither a crash nor a kill leaves anything behind; the table is mapped from it and the system
    reads and forgets its pages as it likes.

    Args:
        schema: Of every batch and of the table.
        memory_bytes: Size from which a file is used.
    """

    def __init__(self, schema: pa.Schema, *, memory_bytes: int = MEMORY_BYTES) -> None:
        self.schema = schema
        self._memory_bytes = memory_bytes
        self._batches: list[Any] = []
        self._bytes = 0
        self._file: Any = None
        self._writer: Any = None

    def write(self, batch: pa.RecordBatch) -> None:
        """Add a batch; its schema must be the spool's."""
        if self._writer is not None:
            self._writer.write_batch(batch)
            return
        self._batches.append(batch)
        self._bytes += batch.nbytes
        if self._bytes > self._memory_bytes:
            self._spill()

    def table(self) -> pa.Table:
        """Return everything that was written; nothing can be added afterwards."""
        import pyarrow as pa

        if self._writer is None:
            return pa.Table.from_batches(self._batches, self.schema)
        self._writer.close()
        self._file.flush()
        # The map keeps the pages after the file is closed, and the file has no name to be left.
        mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        table = pa.ipc.open_stream(pa.py_buffer(mapped)).read_all()
        self._file.close()
        return table

    def _spill(self) -> None:
        import pyarrow as pa

        self._file = tempfile.TemporaryFile(prefix="finetune-")  # noqa: SIM115, outlives this call
        self._writer = pa.ipc.new_stream(self._file, self.schema)
        for batch in self._batches:
            self._writer.write_batch(batch)
        self._batches = []


def spooled(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> pa.Table:
    """Return batches as one table that need not fit into memory."""
    spool = Spool(schema)
    for batch in batches:
        spool.write(batch)
    return spool.table()


def filtered(table: pa.Table, stays: npt.NDArray[np.bool_]) -> pa.Table:
    """Return the rows that stay, in a table that need not fit into memory either.

    Args:
        table: The rows.
        stays: Shape (rows,).
    """
    import pyarrow as pa

    if bool(stays.all()):
        return table

    def batches() -> Iterator[pa.RecordBatch]:
        start = 0
        for batch in table.to_batches():
            yield batch.filter(pa.array(stays[start : start + len(batch)]))
            start += len(batch)

    return spooled(table.schema, batches())
