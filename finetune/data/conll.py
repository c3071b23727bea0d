"""CoNLL files: a token and its tag a line, a blank line between sentences."""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.data import ids
from finetune.data.encodings import lines, open_text
from finetune.data.problems import Problems
from finetune.data.tables import BATCH_ROWS, table_of_batches
from finetune.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

DOCUMENT = "-DOCSTART-"
_LOOKED_AT = 1000
_BLANKS = re.compile(r"[ \t]+")


def read_conll(
    path: Path, name: str, encoding: str | None, problems: Problems, messages: list[str]
) -> tuple[pa.Table, ids.Ids]:
    """Read the columns ``tokens`` and ``tags``: the first and the last field of each line.

    Args:
        path: The file.
        name: What the file is called in ids and errors.
        encoding: Text encoding; UTF-8 when None.
        problems: Where bad lines go; their sentences are left out.
        messages: Grows by what was recognised.
    """
    with open_text(path, name, encoding) as text:
        separator, width = _layout(list(islice(lines(text, name), _LOOKED_AT)), name)
    if width > 2:
        messages.append(f"`{name}` has {width} columns: the first is the token, the last the tag.")
    numbers = array("q")
    bad: list[tuple[int, str]] = []

    def batches() -> Iterator[list[dict[str, Any]]]:
        del numbers[:], bad[:]
        rows = []
        for start, fields in _sentences(path, name, encoding, separator):
            wrong = _wrong(start, fields, width)
            bad.extend(wrong)
            words = [line for line in fields if len(line) == width]
            if wrong or not words:
                continue
            numbers.append(start)
            rows.append({"tokens": [w[0] for w in words], "tags": [w[-1] for w in words]})
            if len(rows) == BATCH_ROWS:
                yield rows
                rows = []
        if rows:
            yield rows

    table = table_of_batches(batches)
    problems.add_lines(bad, table.num_rows, name)
    return table, ids.at_lines(name, numbers)


def _layout(head: list[str], name: str) -> tuple[str | None, int]:
    """Return the separator, None for white space, and the number of fields of most lines."""
    filled = [line for line in head if line.strip() and not line.startswith(DOCUMENT)]
    separator = "\t" if sum("\t" in line for line in filled) > len(filled) / 2 else None
    widths = Counter(len(_fields(line, separator)) for line in filled)
    width = widths.most_common(1)[0][0] if widths else 0
    if width < 2:
        raise DataError(
            f"`{name}` has no tags: its lines have one field.",
            fix="Put a token, a tab and its tag on each line, and a blank line between sentences.",
        )
    return separator, width


def _fields(line: str, separator: str | None) -> list[str]:
    line = line.rstrip("\r\n")
    # Not str.split(): a token may hold a no-break space.
    return line.split(separator) if separator else _BLANKS.split(line.strip(" \t"))


def _sentences(
    path: Path, name: str, encoding: str | None, separator: str | None
) -> Iterator[tuple[int, list[list[str]]]]:
    """Yield the first line and the fields of each sentence."""
    fields: list[list[str]] = []
    start = 0
    with open_text(path, name, encoding) as text:
        for number, line in enumerate(lines(text, name), start=1):
            if not line.strip() or line.startswith(DOCUMENT):
                if fields:
                    yield start, fields
                fields = []
                continue
            start = start if fields else number
            fields.append(_fields(line, separator))
    if fields:
        yield start, fields


def _wrong(start: int, fields: list[list[str]], width: int) -> list[tuple[int, str]]:
    """Return the lines of a sentence that are neither a token nor a comment."""
    return [
        (start + index, f"has {len(line)} fields instead of {width}")
        for index, line in enumerate(fields)
        # `#` is a comment when nothing else fits: it is also a token of tweets.
        if len(line) != width and not line[0].startswith("#")
    ]
