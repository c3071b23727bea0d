"""Plain text: one row a line, in the column ``text``."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.data import ids
from finetune.data.encodings import lines, open_text
from finetune.data.spool import spooled
from finetune.data.tables import BATCH_CHARACTERS, BATCH_ROWS

if TYPE_CHECKING:
    import pyarrow as pa


def read_text(path: Path, name: str, encoding: str | None) -> tuple[pa.Table, ids.Ids]:
    """Read a file line by line; blank lines are no rows.

    Args:
        path: The file.
        name: What the file is called in ids and errors.
        encoding: Text encoding; UTF-8 when None.
    """
    import pyarrow as pa

    schema = pa.schema([("text", pa.string())])
    numbers = array("q")

    def batches() -> Iterator[pa.RecordBatch]:
        rows: list[str] = []
        size = 0
        with open_text(path, name, encoding) as text:
            for number, line in enumerate(lines(text, name), start=1):
                if line.isspace():
                    continue
                rows.append(line.rstrip("\r\n"))
                numbers.append(number)
                size += len(line)
                if len(rows) == BATCH_ROWS or size > BATCH_CHARACTERS:
                    yield pa.RecordBatch.from_arrays([pa.array(rows, pa.string())], schema=schema)
                    rows, size = [], 0
        if rows:
            yield pa.RecordBatch.from_arrays([pa.array(rows, pa.string())], schema=schema)

    return spooled(schema, batches()), ids.at_lines(name, numbers)
