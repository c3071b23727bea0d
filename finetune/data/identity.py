"""Content hashes: which rows are the same, whatever their place, file or chunking."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

_SIZE = 16


def digests(table: pa.Table, columns: Sequence[str]) -> list[bytes]:
    """Return a 16-byte hash of the named columns for each row.

    Only the bytes of an embedded file count, not its name: a copied picture is the same picture.
    """
    values = [_as_bytes(table[column]) for column in columns]
    if len(values) == 1:
        return [hashlib.blake2b(value, digest_size=_SIZE).digest() for value in values[0]]
    return [
        hashlib.blake2b(
            b"".join(len(value).to_bytes(8, "little") + value for value in row), digest_size=_SIZE
        ).digest()
        for row in zip(*values, strict=True)
    ]


def _as_bytes(column: Any) -> list[bytes]:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_struct(column.type) and column.type.get_field_index("bytes") >= 0:
        column = pc.struct_field(column, "bytes")
    if pa.types.is_string(column.type) or pa.types.is_binary(column.type):
        encoded = (value.as_buffer() for chunk in column.chunks for value in chunk)
        return [b"\0" if value is None else b"\1" + value.to_pybytes() for value in encoded]
    return [json.dumps(value, default=str).encode() for value in column.to_pylist()]


def questions(table: pa.Table, columns: Sequence[str]) -> list[bytes]:
    """Return a hash of each row's inputs; of a conversation, all but the answer it ends with."""
    import pyarrow as pa

    asked = {}
    for column in columns:
        values = table[column]
        if pa.types.is_list(values.type) and pa.types.is_struct(values.type.value_type):
            turns = [json.dumps(_asked(row)) for row in values.to_pylist()]
            values = pa.chunked_array([pa.array(turns, pa.string())])
        asked[column] = values
    return digests(pa.table(asked), list(columns))


def _asked(turns: list[dict[str, str]] | None) -> list[dict[str, str]] | None:
    return turns[:-1] if turns and turns[-1].get("role") == "assistant" else turns


def drawn(seed: int, digest: bytes) -> bytes:
    """Return what a row is sorted by for a random choice: its content and the seed, no position."""
    return hashlib.blake2b(digest, digest_size=_SIZE, key=str(seed).encode()).digest()


def fingerprint(rows: Sequence[bytes]) -> str:
    """Return the sha256 of the hashes of a split's rows, in their order."""
    return hashlib.sha256(b"".join(rows)).hexdigest()
