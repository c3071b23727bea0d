"""JSON lines: one object a line, read in batches; a line that is none is a problem with its number.

Blank lines are no rows. Lines are cut where the operating system's editors cut them, not at U+2028.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.data import ids
from finetune.data.encodings import lines, open_text
from finetune.data.problems import Problems
from finetune.data.tables import BATCH_CHARACTERS, BATCH_ROWS, table_of_batches

if TYPE_CHECKING:
    import pyarrow as pa


def read_json_lines(
    path: Path, name: str, encoding: str | None, problems: Problems
) -> tuple[pa.Table, ids.Ids]:
    """Read a file of one object a line.

    Args:
        path: The file.
        name: What the file is called in ids and errors.
        encoding: Text encoding; UTF-8 when None.
        problems: Where bad lines go.
    """
    numbers = array("q")
    bad: list[tuple[int, str]] = []

    def batches() -> Iterator[list[dict[str, Any]]]:
        del numbers[:], bad[:]  # a second pass sees the same again
        rows: list[dict[str, Any]] = []
        size = 0
        with open_text(path, name, encoding) as text:
            for number, line in enumerate(lines(text, name), start=1):
                row = _parsed(line)
                if isinstance(row, dict):
                    rows.append(row)
                    numbers.append(number)
                    size += len(line)
                    if len(rows) == BATCH_ROWS or size > BATCH_CHARACTERS:
                        yield rows
                        rows, size = [], 0
                elif row is not None:
                    bad.append((number, row))
        if rows:
            yield rows

    table = table_of_batches(batches)
    problems.add_lines(bad, table.num_rows, name)
    return table, ids.at_lines(name, numbers)


def _parsed(line: str) -> dict[str, Any] | str | None:
    """Return the object in a line, why it is none, or None for a blank line."""
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        if not line.strip():
            return None
        return f"is not valid JSON ({error.msg}, column {error.colno})"
    except (RecursionError, ValueError):  # ValueError: a number of thousands of digits
        return "is nested too deeply or holds a number that is too long"
    return row if isinstance(row, dict) else f"is a JSON {type(row).__name__} instead of an object"
