"""Tables with a separator: every cell stays text, every row has the header's number of fields."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.data.encodings import open_text
from finetune.data.problems import Problems
from finetune.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

DELIMITERS = (",", "\t", ";", "|")
BATCH_ROWS = 50_000


def read_csv(
    path: Path,
    name: str,
    format: str,
    encoding: str | None,
    delimiter: str | None,
    problems: Problems,
    messages: list[str],
) -> pa.Table:
    """Read a csv or tsv; a line that doesn't fit the header is a problem, with its number.

    Args:
        path: The file.
        name: What the file is called in errors.
        format: ``csv`` or ``tsv``: which separator is expected.
        encoding: Text encoding; UTF-8 when None.
        delimiter: The separator; found when None.
        problems: Where bad lines go.
        messages: Grows by what was recognised.
    """
    import pyarrow as pa

    with open_text(path, name, encoding) as text:
        sample = text.read(1 << 16)
        separator = delimiter or sniff(sample, default="\t" if format == "tsv" else ",")
        if separator != ("\t" if format == "tsv" else ","):
            messages.append(f"`{name}` is separated by {separator!r}.")
    csv.field_size_limit(2**31 - 1)
    with open_text(path, name, encoding) as text:
        reader = csv.reader(text, delimiter=separator, strict=True)
        header = _header(next(reader, []), name)
        batches: list[list[list[str]]] = [[]]
        bad: list[tuple[int, str]] = []
        count = 0
        start = reader.line_num + 1
        while True:
            try:
                row = next(reader)
            except StopIteration:
                break
            except csv.Error as error:
                bad.append((start, _csv_reason(str(error))))
                start = reader.line_num + 1
                continue
            if row and len(row) != len(header):
                bad.append((start, f"has {len(row)} fields instead of {len(header)}"))
            elif row:
                if len(batches[-1]) == BATCH_ROWS:
                    batches.append([])
                batches[-1].append(row)
                count += 1
            start = reader.line_num + 1
    problems.add_lines(bad, count, name, hint=" Quote fields that hold the separator.")
    schema = pa.schema([(column, pa.string()) for column in header])
    tables = [
        pa.table([pa.array(values, pa.string()) for values in zip(*batch, strict=True)], schema)
        for batch in batches
        if batch
    ]
    table = pa.concat_tables(tables) if tables else schema.empty_table()
    return _without_blank_columns(table, name, messages)


def sniff(sample: str, default: str) -> str:
    """Return the separator that cuts the header and most lines into the same number of fields."""

    def score(candidate: str) -> tuple[bool, int, bool]:
        lines = list(csv.reader(io.StringIO(sample, newline=""), delimiter=candidate))[:50]
        widths = [len(line) for line in lines[:-1] or lines if line]
        header = widths[0] if widths else 0
        agree = header > 1 and widths.count(header) >= 0.9 * len(widths)
        return agree, header, candidate == default

    return max(DELIMITERS, key=score)


def _header(cells: Sequence[str], name: str) -> list[str]:
    if not cells:
        raise DataError(f"`{name}` has no header line.", fix="Put column names in the first line.")
    named = [cell.strip() or f"column_{index}" for index, cell in enumerate(cells, start=1)]
    twice = [column for column, times in Counter(named).items() if times > 1]
    if twice:
        raise DataError(
            f"`{name}` has more than one column called {_listed(twice)}.",
            fix="Give every column its own name.",
        )
    return named


def _without_blank_columns(table: pa.Table, name: str, messages: list[str]) -> pa.Table:
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


def _csv_reason(error: str) -> str:
    if "unexpected end" in error:
        return "opens a quote that is never closed"
    if "expected after" in error:
        return "has text behind a closing quote"
    return f"is not valid csv ({error})"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
