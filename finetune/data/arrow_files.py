"""Parquet and Arrow files, read batch by batch, with class names and plain types."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.data.spool import spooled
from finetune.data.tables import BATCH_ROWS
from finetune.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa


def read_arrow(path: Path, name: str, format: str) -> pa.Table:
    """Read a file whose types are known.

    Args:
        path: The file.
        name: What errors call it.
        format: ``parquet`` or ``arrow``; the latter as a file or as a stream.

    Raises:
        DataError: It is no such file.
    """
    import pyarrow as pa

    try:
        with _batches(path, format) as (schema, batches):
            return spooled(_plain_schema(schema), (_plain(batch, schema) for batch in batches))
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, PermissionError):
            raise
        raise DataError(
            f"`{name}` cannot be read as {format}: {str(error).splitlines()[0].rstrip('.')}.",
            fix="Write the file again, or say what it is with data.format.",
        ) from None


@contextmanager
def _batches(path: Path, format: str) -> Iterator[tuple[pa.Schema, Iterator[pa.RecordBatch]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if format == "parquet":
        with pq.ParquetFile(path) as file:
            yield file.schema_arrow, file.iter_batches(batch_size=BATCH_ROWS)
        return
    with pa.memory_map(str(path)) as source:
        try:
            reader = pa.ipc.open_file(source)
        except pa.ArrowInvalid:
            source.seek(0)
            stream = pa.ipc.open_stream(source)
            yield stream.schema, iter(stream)
        else:
            count = reader.num_record_batches
            yield reader.schema, (reader.get_batch(index) for index in range(count))


def plain_table(table: pa.Table) -> pa.Table:
    """Return a table with class names for class numbers, and plain types."""
    import pyarrow as pa

    schema = table.schema
    batches = [_plain(batch, schema) for batch in table.to_batches()]
    return pa.Table.from_batches(batches, _plain_schema(schema))


def _plain_schema(schema: pa.Schema) -> pa.Schema:
    import pyarrow as pa

    classes = _class_names(schema)
    return pa.schema(
        [
            pa.field(node.name, pa.string() if node.name in classes else _plain_type(node.type))
            for node in schema
        ]
    )


def _plain(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    classes = _class_names(schema)
    wanted = _plain_schema(schema)
    arrays = []
    for column, node in zip(batch.columns, wanted, strict=True):
        if node.name in classes:
            arrays.append(_named(column, classes[node.name]))
        else:
            arrays.append(column if column.type == node.type else column.cast(node.type))
    return batch.from_arrays(arrays, schema=wanted)


def _class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """Return the class names that `datasets` keeps in the schema, by column."""
    described = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    features = described.get("info", {}).get("features", {})
    return {
        column: feature["names"]
        for column, feature in features.items()
        if isinstance(feature, dict)
        and feature.get("_type") == "ClassLabel"
        and column in schema.names
    }


def _named(column: Any, names: list[str]) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    known = pc.and_(pc.greater_equal(column, 0), pc.less(column, len(names)))
    return pa.array(names, pa.string()).take(pc.if_else(known, column, None))


def _plain_type(kind: Any) -> Any:
    """Return the type that the rest of the house expects: pandas writes large and coded strings."""
    import pyarrow as pa

    types = pa.types
    if types.is_dictionary(kind):
        return _plain_type(kind.value_type)
    if types.is_large_string(kind) or types.is_string_view(kind):
        return pa.string()
    if types.is_large_binary(kind) or types.is_binary_view(kind):
        return pa.binary()
    if types.is_list(kind) or types.is_large_list(kind):
        return pa.list_(_plain_type(kind.value_type))
    if types.is_struct(kind):
        return pa.struct([pa.field(node.name, _plain_type(node.type)) for node in kind])
    return kind
