"""Tables of several files put one after the other, out of memory, with one type for each column."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from finetune.data.spool import Spool, spooled
from finetune.data.tables import MIXED, as_json, mixed

if TYPE_CHECKING:
    import pyarrow as pa


def concatenated(tables: Iterable[pa.Table]) -> pa.Table:
    """Return the rows of all tables; what a table lacks is null.

    A column whose types cannot be brought together becomes JSON text, marked as `tables.mixed`.

    Args:
        tables: At least one; consumed one by one.
    """
    groups: list[tuple[pa.Schema, Spool]] = []
    for table in tables:
        schema = table.schema
        if not groups or not groups[-1][0].equals(schema, check_metadata=True):
            groups.append((schema, Spool(schema)))
        for batch in table.to_batches():
            groups[-1][1].write(batch)
    made = [spool.table() for _, spool in groups]
    if len(made) == 1:
        return made[0]
    schema = _common([schema for schema, _ in groups])
    return spooled(schema, (part for table in made for part in _converted(table, schema)))


def _common(schemas: list[pa.Schema]) -> pa.Schema:
    import pyarrow as pa

    fields: dict[str, pa.Field] = {}
    for schema in schemas:
        for node in schema:
            known = fields.get(node.name)
            if known is None or mixed(node):
                fields[node.name] = node
            elif not mixed(known):
                fields[node.name] = _unified(known, node)
    return pa.schema(list(fields.values()))


def _unified(first: pa.Field, second: pa.Field) -> pa.Field:
    import pyarrow as pa

    try:
        both = [pa.schema([node]) for node in (first, second)]
        return pa.unify_schemas(both, promote_options="permissive").field(0)
    except pa.ArrowException:
        return pa.field(first.name, pa.string(), metadata=MIXED)


def _converted(table: pa.Table, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    for batch in table.to_batches():
        arrays: list[Any] = []
        for node in schema:
            index = batch.schema.get_field_index(node.name)
            if index < 0:
                arrays.append(pa.nulls(len(batch), node.type))
            elif mixed(node) and not mixed(batch.schema.field(index)):
                arrays.append(as_json(batch.column(index).to_pylist()))
            else:
                arrays.append(batch.column(index).cast(node.type))
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)
