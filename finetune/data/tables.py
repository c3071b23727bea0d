"""Readers of one file: csv, tsv, json, jsonl, parquet and arrow into an Arrow table.

Text formats are read by Python's own parsers, because those know the line a mistake is on; nothing
is inferred from a csv, so that the label ``007`` stays itself. A JSON column whose values have no
common type is kept as JSON text and marked (`mixed`): whether that is a mistake depends on the
column's kind, which is only known later.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.data.delimited import read_csv
from finetune.data.encodings import open_text
from finetune.data.problems import Problems
from finetune.errors import DataError

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
}
MIXED = {b"finetune": b"mixed"}


def format_of(path: Path) -> str | None:
    """Return the format that a file name tells, or None."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    return FORMATS.get(suffixes[-1]) if suffixes else None


def read_table(
    path: Path,
    *,
    format: str,
    name: str,
    encoding: str | None = None,
    delimiter: str | None = None,
    problems: Problems,
    messages: list[str],
) -> pa.Table:
    """Read one file, with its columns as they are.

    Args:
        path: The file.
        format: One of the values of `FORMATS`.
        name: What the file is called in ids and errors.
        encoding: Text encoding; UTF-8 when None.
        delimiter: Column separator of a csv; found when None.
        problems: Where unreadable lines go; refused at the end of the file unless it drops.
        messages: Grows by what was recognised.

    Raises:
        DataError: The file cannot be read as this format.
    """
    if path.stat().st_size == 0:
        raise DataError(f"`{name}` is empty.", fix="Give a file that has rows.")
    if format in ("csv", "tsv"):
        table = read_csv(path, name, format, encoding, delimiter, problems, messages)
    elif format in ("json", "jsonl"):
        table = _read_json(path, name, format, encoding, problems, messages)
    else:
        table = _read_arrow(path, name, format)
    if table.num_rows == 0:
        raise DataError(f"`{name}` holds no rows.", fix="Give a file that has rows.")
    return table


def _read_json(
    path: Path,
    name: str,
    format: str,
    encoding: str | None,
    problems: Problems,
    messages: list[str],
) -> pa.Table:
    if format == "json":
        with open_text(path, name, encoding) as text:
            content = text.read()
        try:
            return table_of_rows(_array(json.loads(content), name), name)
        except json.JSONDecodeError as error:
            if error.msg != "Extra data" or not content.lstrip().startswith("{"):
                raise DataError(
                    f"`{name}` is not valid JSON: {error.msg} in line {error.lineno}, column "
                    f"{error.colno}.",
                    fix="Correct that line.",
                ) from None
            messages.append(f"`{name}` holds one JSON object a line: read as jsonl.")
        except RecursionError:
            raise DataError(f"`{name}` is nested too deeply.", fix="Flatten it.") from None
    rows: list[dict[str, Any]] = []
    bad: list[tuple[int, str]] = []
    with open_text(path, name, encoding) as text:
        for number, line in enumerate(text, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                bad.append((number, f"is not valid JSON ({error.msg}, column {error.colno})"))
                continue
            except RecursionError:
                bad.append((number, "is nested too deeply"))
                continue
            if isinstance(row, dict):
                rows.append(row)
            else:
                bad.append((number, f"is a JSON {type(row).__name__} instead of an object"))
    problems.add_lines(bad, len(rows), name)
    return table_of_rows(rows, name)


def _array(content: Any, name: str) -> list[dict[str, Any]]:
    """Return the list of objects in a JSON document: itself, or the only list of objects in it."""
    if isinstance(content, dict):
        lists = [value for value in content.values() if _is_rows(value)]
        if len(lists) == 1:
            content = lists[0]
    if not isinstance(content, list):
        raise DataError(
            f"`{name}` is not a list of objects.",
            fix='Give a list such as [{"text": "…", "label": "…"}, …], or one object a line.',
        )
    for index, row in enumerate(content, start=1):
        if not isinstance(row, dict):
            raise DataError(
                f"Item {index:,} of `{name}` is a {type(row).__name__} instead of an object.",
                fix="Make every item an object with the same names.",
            )
    return content


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def table_of_rows(rows: Sequence[dict[str, Any]], name: str) -> pa.Table:
    """Make a table of Python rows; a column without a common type is kept as marked JSON text."""
    import pyarrow as pa

    columns: dict[str, None] = {}
    for row in rows:
        if not isinstance(row, dict):
            raise DataError(
                f"{name} must be dictionaries, got a {type(row).__name__}.",
                fix='Pass rows such as {"text": "…", "label": "…"}.',
            )
        columns.update(dict.fromkeys(row))
    fields, arrays = [], []
    for column in columns:
        values = [row.get(column) for row in rows]
        types = {type(value) for value in values} - {type(None)}
        try:
            if len(types) > 1 and types != {int, float}:
                raise TypeError("no common type")
            array, metadata = pa.array(values), None
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            # Escaped, so that a lone surrogate survives until it can be reported with its row.
            array = pa.array(
                [None if value is None else json.dumps(value, default=repr) for value in values],
                pa.string(),
            )
            metadata = MIXED
        fields.append(pa.field(str(column), array.type, metadata=metadata))
        arrays.append(array)
    return pa.table(arrays, schema=pa.schema(fields))


def mixed(field: pa.Field) -> bool:
    """Tell whether a column is JSON text because its values have no common type."""
    return bool(field.metadata) and MIXED.items() <= field.metadata.items()


def _read_arrow(path: Path, name: str, format: str) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if format == "parquet":
            return with_label_names(pq.read_table(path))
        with pa.memory_map(str(path)) as source:
            try:
                return with_label_names(pa.ipc.open_file(source).read_all())
            except pa.ArrowInvalid:
                source.seek(0)
                return with_label_names(pa.ipc.open_stream(source).read_all())
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"`{name}` cannot be read as {format}: {str(error).splitlines()[0].rstrip('.')}.",
            fix="Write the file again, or say what it is with data.format.",
        ) from None


def with_label_names(table: pa.Table) -> pa.Table:
    """Replace class numbers by the class names that `datasets` keeps in the schema."""
    import pyarrow as pa

    described = json.loads((table.schema.metadata or {}).get(b"huggingface", b"{}"))
    features = described.get("info", {}).get("features", {})
    for column, feature in features.items():
        if column in table.column_names and feature.get("_type") == "ClassLabel":
            names = feature["names"]
            chosen = [
                names[value] if value is not None and 0 <= value < len(names) else None
                for value in table[column].to_pylist()
            ]
            index = table.column_names.index(column)
            table = table.set_column(index, column, pa.array(chosen, pa.string()))
    return table.replace_schema_metadata(None)
