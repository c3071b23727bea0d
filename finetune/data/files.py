"""One file into a table and the ids of its rows, whatever its format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.data import ids
from finetune.data.arrow_files import read_arrow
from finetune.data.compression import SUFFIXES, is_zip, plain_name, refuse_archive
from finetune.data.conll import read_conll
from finetune.data.databases import read_database
from finetune.data.delimited import read_csv
from finetune.data.encodings import AUTO, found_encoding
from finetune.data.json_documents import read_json
from finetune.data.json_lines import read_json_lines
from finetune.data.problems import Problems
from finetune.data.text_lines import read_text
from finetune.data.workbooks import read_workbook
from finetune.errors import ConfigError, DataError

if TYPE_CHECKING:
    import pyarrow as pa

FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".xlsx": "excel",
    ".xlsm": "excel",
    ".xls": "excel",
    ".ods": "excel",
    ".conll": "conll",
    ".iob": "conll",
    ".iob2": "conll",
    ".bio": "conll",
    ".db": "sql",
    ".sqlite": "sql",
    ".sqlite3": "sql",
}
TEXT = ("csv", "tsv", "json", "jsonl", "conll", "text")
"""Formats with an encoding, which may be compressed; `text` is read only when it is asked for."""
READ = (*dict.fromkeys(FORMATS.values()), "text")


@dataclass
class Reading:
    """Options that say how to read, and what was noticed while reading.

    Args:
        format: One of `READ`, or what a folder is; found by the name when None.
        encoding: Text encoding; UTF-8 when None, found when ``auto``.
        delimiter: Column separator of a csv; found when None.
        name: Configuration of a hub data set.
        revision: Revision of a hub data set.
        problems: Where lines go that make no row.
        messages: What was recognised.
        header: Column names of a csv, tsv or sheet that has none of its own.
        sheet: Sheet of a workbook.
        query: SELECT on a database.
    """

    format: str | None = None
    encoding: str | None = None
    delimiter: str | None = None
    name: str | None = None
    revision: str | None = None
    problems: Problems = field(default_factory=Problems)
    messages: list[str] = field(default_factory=list)
    header: Sequence[str] | None = None
    sheet: str | None = None
    query: str | None = None


def format_of(path: Path) -> str | None:
    """Return the format that a file name tells, or None."""
    return FORMATS.get(Path(plain_name(path.name)).suffix.lower())


def read_file(path: Path, name: str, reading: Reading) -> tuple[pa.Table, ids.Ids]:
    """Read one file, with its columns as they are.

    Args:
        path: The file.
        name: What it is called in ids and errors.
        reading: How to read it; its problems and messages grow.

    Raises:
        DataError: It cannot be read, or holds no rows.
    """
    refuse_archive(path, name)
    format = reading.format if reading.format in READ else format_of(path)
    if format is None:
        text = Path(plain_name(name)).suffix.lower() == ".txt"
        raise DataError(
            f"`{name}` is in no format that is known by its name.",
            fix="Set data.format=text to read one row a line, or to what else it is."
            if text
            else f"Set data.format to one of {', '.join(READ)}.",
        )
    if reading.query and format != "sql":
        raise ConfigError(
            f"`data.query` is for databases, and `{name}` is none.", fix="Leave data.query out."
        )
    try:
        if not path.is_file():
            raise DataError(f"`{name}` is no regular file.", fix="Give a file or a folder.")
        if path.stat().st_size == 0:
            raise DataError(f"`{name}` is empty.", fix="Give a file that has rows.")
        table, rows = _read(path, name, format, reading)
    except PermissionError:
        raise DataError(
            f"`{name}` may not be read by this user.", fix="Give read permission on it."
        ) from None
    if table.num_rows == 0:
        raise DataError(f"`{name}` holds no rows.", fix="Give a file that has rows.")
    return table, rows


def _read(path: Path, name: str, format: str, reading: Reading) -> tuple[pa.Table, ids.Ids]:
    problems, messages = reading.problems, reading.messages
    if format not in TEXT:
        if path.suffix.lower() in SUFFIXES:
            raise DataError(f"`{name}` is a compressed {format} file.", fix="Unpack it.")
        if format == "excel":
            return read_workbook(
                path, name, sheet=reading.sheet, header=reading.header, messages=messages
            )
        if format == "sql":
            table, rows, _ = read_database(path, reading.query)
            return table, rows
        table = read_arrow(path, name, format)
        return table, ids.numbered(name, table.num_rows)
    if is_zip(path):
        raise DataError(
            f"`{name}` is a zip archive or a workbook, not {format}.",
            fix="Give it its right name; an archive has to be unpacked.",
        )
    encoding = reading.encoding
    if encoding == AUTO:
        encoding = found_encoding(path, name, messages)
    if format in ("csv", "tsv"):
        return read_csv(
            path,
            name,
            format,
            encoding=encoding,
            delimiter=reading.delimiter,
            header=reading.header,
            problems=problems,
            messages=messages,
        )
    if format == "json":
        return read_json(path, name, encoding, problems, messages)
    if format == "jsonl":
        return read_json_lines(path, name, encoding, problems)
    if format == "conll":
        return read_conll(path, name, encoding, problems, messages)
    return read_text(path, name, encoding)
