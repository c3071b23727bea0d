"""Tables with a separator: every cell stays text, every row has the header's number of fields.

Python's own parser is used because it knows the line a mistake is on; nothing is inferred, so that
the label ``007`` stays itself.
"""

from __future__ import annotations

import csv
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.data import ids, separators
from finetune.data.encodings import MAX_LINE, lines, open_text
from finetune.data.problems import Problems
from finetune.data.spool import spooled
from finetune.data.tables import BATCH_CHARACTERS, BATCH_ROWS
from finetune.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa


def read_csv(
    path: Path,
    name: str,
    format: str,
    *,
    encoding: str | None,
    delimiter: str | None,
    header: Sequence[str] | None,
    problems: Problems,
    messages: list[str],
) -> tuple[pa.Table, ids.Ids]:
    """Read a csv or tsv; a line that doesn't fit the header is a problem, with its number.

    Args:
        path: The file.
        name: What the file is called in ids and errors.
        format: ``csv`` or ``tsv``: which separator is expected.
        encoding: Text encoding; UTF-8 when None.
        delimiter: The separator; found when None.
        header: Column names, when the file has none of its own.
        problems: Where bad lines go.
        messages: Grows by what was recognised.
    """
    with open_text(path, name, encoding) as text:
        sample = text.read(separators.SAMPLE)
    separator = separators.choose(sample, name, format, delimiter, header, messages)
    reading = _Rows(path, name, encoding, separator, header)
    batches = iter(reading)
    first = next(batches, None)
    table = spooled(reading.schema(), _all(first, batches))
    hint = " Quote fields that hold the separator."
    if len(reading.header) == 1 and separator != separators.NONE:
        hint = " If each line is one value, set data.delimiter=none."
    problems.add_lines(reading.bad, table.num_rows, name, hint=hint)
    return without_blank_columns(table, name, messages), ids.at_lines(name, reading.numbers)


def _all(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    if first is not None:
        yield first
        yield from rest


class _Rows:
    """The batches of a file, and what is known once they are read: header, lines, bad lines."""

    def __init__(
        self,
        path: Path,
        name: str,
        encoding: str | None,
        separator: str,
        header: Sequence[str] | None,
    ) -> None:
        self._place = (path, name, encoding)
        self._separator = separator
        self._given = header
        self.header: list[str] = []
        self.numbers = array("q")
        self.bad: list[tuple[int, str]] = []

    def schema(self) -> pa.Schema:
        import pyarrow as pa

        return pa.schema([(column, pa.string()) for column in self.header])

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        path, name, encoding = self._place
        limit = csv.field_size_limit(MAX_LINE)
        try:
            with open_text(path, name, encoding) as text:
                reader = csv.reader(lines(text, name), delimiter=self._separator, strict=True)
                self.header = named_columns(self._given or next(reader, []), name)
                yield from self._batches(reader)
        except csv.Error as error:  # in the header
            raise DataError(
                f"The header of `{name}` {_reason(str(error))}.", fix="Correct the first line."
            ) from None
        finally:
            csv.field_size_limit(limit)

    def _batches(self, reader: Any) -> Iterator[pa.RecordBatch]:
        width = len(self.header)
        rows: list[list[str]] = []
        size = 0
        start = reader.line_num + 1
        while True:
            try:
                row = next(reader)
            except StopIteration:
                break
            except csv.Error as error:
                self.bad.append((start, _reason(str(error))))
                start = reader.line_num + 1
                continue
            if len(row) == width:
                rows.append(row)
                self.numbers.append(start)
                size += len(row[0]) if width == 1 else sum(map(len, row))
                if len(rows) == BATCH_ROWS or size > BATCH_CHARACTERS:
                    yield self._batch(rows)
                    rows, size = [], 0
            elif row:
                self.bad.append((start, f"has {len(row)} fields instead of {width}"))
            start = reader.line_num + 1
        if rows:
            yield self._batch(rows)

    def _batch(self, rows: list[list[str]]) -> pa.RecordBatch:
        import pyarrow as pa

        columns = [pa.array(values, pa.string()) for values in zip(*rows, strict=True)]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema())


def named_columns(cells: Sequence[str], name: str) -> list[str]:
    """Return the names in a header; what has none is called ``column_N``.

    Raises:
        DataError: There is no header, or a name is there twice.
    """
    if not cells:
        raise DataError(f"`{name}` has no header line.", fix="Put column names in the first line.")
    named = [cell.strip() or f"column_{index}" for index, cell in enumerate(cells, start=1)]
    twice = [f"`{column}`" for column, times in Counter(named).items() if times > 1]
    if twice:
        raise DataError(
            f"`{name}` has more than one column called {', '.join(twice)}.",
            fix="Give every column its own name, or all of them by data.header=[…] if the file "
            "has no header line.",
        )
    return named


def without_blank_columns(table: pa.Table, name: str, messages: list[str]) -> pa.Table:
    """Leave out columns without a name or a value, which spreadsheets add at the right."""
    import pyarrow.compute as pc

    blank = [
        column
        for column in table.column_names
        if column.startswith("column_") and pc.all(pc.equal(table[column], "")).as_py()
    ]
    if blank and len(blank) < table.num_columns:
        messages.append(f"`{name}` has {len(blank)} columns without a name or a value: left out.")
        return table.drop_columns(blank)
    return table


def _reason(error: str) -> str:
    if "unexpected end" in error:
        return "opens a quote that is never closed"
    if "expected after" in error:
        return "has text behind a closing quote"
    if "field limit" in error:
        return f"opens a quote that is not closed within {MAX_LINE:,} characters"
    return f"is not valid csv ({error})"
