"""The texts within a column's cells: taken out flat, and put back where they were."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

CONTENT = "content"
"""The field of a conversation's turn that holds its text."""
JOINT = "\n"


@dataclass(frozen=True)
class Texts:
    """The texts of a column.

    Args:
        flat: Strings; null where there is none.
        rows: Shape (texts,). The row that each belongs to, ascending; None when that is its place.
    """

    flat: pa.Array
    rows: npt.NDArray[np.int64] | None = None

    def position(self, place: int) -> int | None:
        """Return the position of a text in its list; None for a text that is the whole cell."""
        if self.rows is None:
            return None
        return place - int(self.rows.searchsorted(self.rows[place]))


def holds_text(kind: pa.DataType) -> bool:
    """Tell whether a column is of strings, of lists of strings, or of conversations."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _is_string(kind.value_type)
    if not _is_list(kind):
        return _is_string(kind)
    item = kind.value_type
    if not pa.types.is_struct(item):
        return _is_string(item)
    place = item.get_field_index(CONTENT)
    return place >= 0 and _is_string(item.field(place).type)


def take_out(column: pa.Array) -> Texts:
    """Return the texts of a column.

    Args:
        column: One that `holds_text`.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(column.type):
        return Texts(_plain(column.dictionary_decode()))
    if not _is_list(column.type):
        return Texts(_plain(column))
    items = column.flatten()
    if pa.types.is_struct(items.type):
        # Flattened rather than by field, so that a turn that is null has no text either.
        items = items.flatten()[items.type.get_field_index(CONTENT)]
    rows = pc.list_parent_indices(column).to_numpy(zero_copy_only=False).astype("int64")
    return Texts(_plain(items), rows)


def put_back(column: pa.Array, flat: pa.Array) -> pa.Array:
    """Return a column with other texts in the same places.

    Args:
        column: What `take_out` was given.
        flat: As many texts as it returned.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if not _is_list(column.type):
        return flat.cast(column.type)
    items: Any = column.flatten()
    if pa.types.is_struct(items.type):
        parts, place = items.flatten(), items.type.get_field_index(CONTENT)
        parts[place] = flat.cast(parts[place].type)
        items = pa.StructArray.from_arrays(parts, fields=list(items.type), mask=pc.is_null(items))
    else:
        items = flat.cast(items.type)
    make = pa.LargeListArray if pa.types.is_large_list(column.type) else pa.ListArray
    return make.from_arrays(_offsets(column), items, type=column.type, mask=pc.is_null(column))


def joined(column: pa.Array, texts: Texts) -> pa.Array:
    """Return one text a row: the string itself, or all that a list or a conversation says.

    Args:
        column: What `take_out` was given.
        texts: What it returned, or as many others.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if texts.rows is None:
        return texts.flat
    said = pc.fill_null(texts.flat, "").cast(pa.large_string())
    offsets = _offsets(column).cast(pa.int64())
    lists = pa.LargeListArray.from_arrays(offsets, said, mask=pc.is_null(column))
    return pc.binary_join(lists, pa.scalar(JOINT, pa.large_string()))


def _offsets(column: pa.Array) -> pa.Array:
    """Return where the items of each list begin, once a slice or a null has been left behind."""
    import pyarrow as pa
    import pyarrow.compute as pc

    lengths = pc.fill_null(pc.list_value_length(column), 0)
    ends = pc.cumulative_sum(lengths)
    return pa.concat_arrays([pa.array([0], ends.type), ends])


def _plain(texts: pa.Array) -> pa.Array:
    """Return strings in a layout that every function of Arrow takes."""
    import pyarrow as pa

    return texts.cast(pa.large_string()) if pa.types.is_string_view(texts.type) else texts


def _is_string(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _is_list(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))
