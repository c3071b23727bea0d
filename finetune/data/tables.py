"""Python rows into Arrow tables: one type for each column, found over all rows, out of memory.

A column whose values have no common type is kept as JSON text and marked (`mixed`): whether that
is a mistake depends on the column's kind, which is only known later.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from finetune.data.spool import spooled
from finetune.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

MIXED = {b"finetune": b"mixed"}
BATCH_ROWS = 16_384
BATCH_CHARACTERS = 16 << 20
"""A batch ends with whichever comes first, so that long texts don't make it larger than memory."""

Rows = Sequence[Mapping[str, Any]]


@dataclass
class _Column:
    """What has been seen of a column: Python's types, and Arrow's; None once there is none."""

    types: set[type] = field(default_factory=set)
    arrow: Any = None
    mixed: bool = False


def table_of_rows(rows: Sequence[dict[str, Any]], name: str) -> pa.Table:
    """Make a table of Python rows; a column without a common type is kept as marked JSON text."""
    for row in rows:
        if not isinstance(row, dict):
            raise DataError(
                f"{name} must be dictionaries, got a {type(row).__name__}.",
                fix='Pass rows such as {"text": "…", "label": "…"}.',
            )
    starts = range(0, len(rows), BATCH_ROWS)
    return table_of_batches(lambda: (rows[start : start + BATCH_ROWS] for start in starts))


def table_of_batches(batches: Callable[[], Iterable[Rows]]) -> pa.Table:
    """Make a table of rows that need not fit into memory.

    The types are only known when the last row was seen. So the first pass writes what the first
    batch promised, and another pass is made when a later batch broke the promise.

    Args:
        batches: Yields the rows, the same ones each time that it is called.
    """
    import pyarrow as pa

    columns: dict[str, _Column] = {}
    promised: list[pa.Schema] = []

    def watched() -> Iterator[pa.RecordBatch]:
        for rows in batches():
            arrays = _look(rows, columns)
            schema = _schema(columns)
            promised[:] = promised or [schema]
            if schema.equals(promised[0], check_metadata=True):
                yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    first = watched()
    head = next(first, None)
    if head is None:
        return pa.table({})
    table = spooled(promised[0], _chain(head, first))
    made = promised[0]
    while not made.equals(_schema(columns), check_metadata=True):
        made = _schema(columns)
        table = spooled(made, (_convert(rows, columns, made) for rows in batches()))
    return table


def _chain(head: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield head
    yield from rest


def _look(rows: Rows, columns: dict[str, _Column]) -> list[Any]:
    """Learn the types of a batch, and return its columns under what is known so far."""
    import pyarrow as pa

    for row in rows:
        for name in row:
            if name not in columns:
                columns[name] = _Column(arrow=pa.null())
    arrays = []
    for name, column in columns.items():
        values = [row.get(name) for row in rows]
        column.types |= set(map(type, values)) - {type(None)}
        array = None
        if not column.mixed:
            try:
                if len(column.types) > 1 and column.types != {int, float}:
                    raise TypeError("no common type")
                array = pa.array(values)
                column.arrow = _common(column.arrow, array.type)
                array = array if array.type == column.arrow else pa.array(values, column.arrow)
            except (pa.ArrowException, TypeError, ValueError, OverflowError):
                column.mixed, array = True, None
        arrays.append(as_json(values) if array is None else array)
    return arrays


def _convert(rows: Rows, columns: dict[str, _Column], schema: pa.Schema) -> pa.RecordBatch:
    """Return a batch under the final schema; what turns out not to fit is noted for another pass.

    A whole number may be too large for the float that a later batch asks for.
    """
    import pyarrow as pa

    arrays = []
    for (name, column), node in zip(columns.items(), schema, strict=True):
        values = [row.get(name) for row in rows]
        if mixed(node):
            arrays.append(as_json(values))
            continue
        try:
            arrays.append(pa.array(values, node.type))
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            column.mixed = True
            arrays.append(pa.nulls(len(values), node.type))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _common(first: Any, second: Any) -> Any:
    import pyarrow as pa

    if first == second or pa.types.is_null(second):
        return first
    both = [pa.schema([("", kind)]) for kind in (first, second)]
    return pa.unify_schemas(both, promote_options="permissive").field(0).type


def _schema(columns: Mapping[str, _Column]) -> pa.Schema:
    import pyarrow as pa

    return pa.schema(
        [
            pa.field(str(name), pa.string(), metadata=MIXED)
            if column.mixed
            else pa.field(str(name), column.arrow)
            for name, column in columns.items()
        ]
    )


def as_json(values: Iterable[Any]) -> Any:
    """Return values as an Arrow array of JSON texts, null where there is none."""
    import pyarrow as pa

    # Escaped, so that a lone surrogate survives until it can be reported with its row.
    return pa.array(
        [None if value is None else json.dumps(value, default=repr) for value in values],
        pa.string(),
    )


def mixed(field: pa.Field) -> bool:
    """Tell whether a column is JSON text because its values have no common type."""
    return bool(field.metadata) and MIXED.items() <= field.metadata.items()
