"""A table column as codes into its distinct values, and what a detector found in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Codes = npt.NDArray[np.int64]
    Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Encoded:
    """A column, each distinct value held once: detectors look at values, not at rows.

    Args:
        name: What the column is called.
        codes: For each row, the place of its value; -1 where there is none.
        values: The distinct values as an Arrow string array, in order of first appearance.
    """

    name: str
    codes: Codes
    values: Any

    @cached_property
    def counts(self) -> Codes:
        """How many rows have each value."""
        import numpy as np

        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.values))

    @cached_property
    def texts(self) -> list[str]:
        """The distinct values as Python strings; only for columns with few."""
        found: list[str] = self.values.to_pylist()
        return found

    def of_rows(self, flagged: Mask) -> Mask:
        """Tell which rows have one of the flagged values."""
        import numpy as np

        padded: Mask = np.append(flagged, False)
        return padded[self.codes]  # -1, no value, is the last place


@dataclass(frozen=True)
class Found:
    """Cells of one column with one thing wrong.

    Args:
        column: The column they are in.
        kind: What is wrong.
        rows: Their row numbers, ascending.
        proposals: What each should perhaps be, an Arrow string array; null where nobody can tell.
    """

    column: str
    kind: str
    rows: Codes
    proposals: Any

    def where(self, keep: Mask) -> Found:
        """Return the cells for which the mask, one entry for each cell, is true."""
        import pyarrow as pa

        return Found(self.column, self.kind, self.rows[keep], self.proposals.filter(pa.array(keep)))


def encode(name: str, column: Any) -> Encoded | None:
    """Encode an Arrow column; None when its values are no single things, such as lists."""
    import numpy as np
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_nested(kind) or pa.types.is_null(kind) or _is_bytes(kind):
        return None
    if kind != pa.string():
        column = column.cast(pa.string())
    encoded = column.dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.unify_dictionaries().combine_chunks()
        if isinstance(encoded, pa.ChunkedArray):  # pyarrow keeps a table without rows in chunks
            empty = pa.array([], pa.string())
            encoded = encoded.chunk(0) if encoded.num_chunks else empty.dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return Encoded(name, codes, encoded.dictionary)


def by_value(column: Encoded, kind: str, proposals: dict[int, str | None]) -> Found | None:
    """Turn findings about distinct values, each with a proposal, into findings about rows."""
    import numpy as np

    if not proposals:
        return None
    flagged = np.zeros(len(column.values), bool)
    flagged[list(proposals)] = True
    spelt: list[str | None] = [None] * len(column.values)
    for code, proposal in proposals.items():
        spelt[code] = proposal
    return by_mask(column, kind, flagged, spelt)


def by_mask(column: Encoded, kind: str, flagged: Mask, proposals: Sequence[Any] | Any) -> Found:
    """Turn a mask over the distinct values and a proposal for each into findings about rows."""
    import numpy as np
    import pyarrow as pa

    rows = np.flatnonzero(column.of_rows(flagged))
    spelt = proposals if isinstance(proposals, pa.Array) else pa.array(proposals, pa.string())
    return Found(column.name, kind, rows, spelt.take(pa.array(column.codes[rows])))


def _is_bytes(kind: Any) -> bool:
    import pyarrow as pa

    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
        or pa.types.is_binary_view(kind)
    )
