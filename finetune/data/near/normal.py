"""Text columns → one folded text a row, for comparison only: case, accents, blanks, punctuation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from finetune.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

BATCH_ROWS = 8192
BATCH_BYTES = 8 << 20
MAX_CHARACTERS = 1_000_000
"""Of a longer text only the beginning is compared, so that one row cannot fill the memory."""
JOINT = "\n"
_ACCENTS = r"[\x{0300}-\x{036F}]+"
_VANISHING = r"[\p{Cf}'’‘`]+"
"""Apostrophes and invisible marks go without leaving a blank: `don't` and `dont` are one word."""
_BLANKS = r"[\p{P}\p{Z}\p{C}\s]+"


def folded(texts: pa.Array) -> pa.Array:
    """Return texts without what does not change their meaning, blanks at neither end.

    A text of nothing but punctuation keeps it: `?` and `...` are different answers.

    Args:
        texts: Strings without nulls.
    """
    import pyarrow.compute as pc

    out = pc.utf8_lower(texts)
    if not pc.all(pc.string_is_ascii(texts)).as_py():
        out = pc.utf8_normalize(out, "NFKD")
        out = pc.replace_substring_regex(out, _ACCENTS, "")
        out = pc.utf8_lower(pc.utf8_normalize(out, "NFKC"))
        out = pc.replace_substring(pc.replace_substring(out, "ß", "ss"), "ς", "σ")
    out = pc.replace_substring_regex(out, _VANISHING, "")
    out = pc.utf8_trim(pc.replace_substring_regex(out, _BLANKS, " "), " ")
    bare = pc.equal(out, "")
    if pc.any(bare).as_py():
        out = pc.if_else(bare, pc.utf8_trim_whitespace(pc.utf8_lower(texts)), out)
    return out


def joined(batch: pa.RecordBatch, columns: Sequence[str]) -> pa.Array:
    """Return one large string a row: its text columns, or all that is said in a conversation.

    Args:
        batch: Rows.
        columns: Strings, lists of strings, or lists of structs with `content`.

    Raises:
        DataError: A column holds no text.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    parts = [_strings(batch.column(name), name) for name in columns]
    joint = pa.scalar(JOINT, pa.large_string())
    whole = parts[0] if len(parts) == 1 else pc.binary_join_element_wise(*parts, joint)
    long = pc.greater(pc.binary_length(whole), MAX_CHARACTERS)
    if pc.any(long).as_py():
        whole = pc.if_else(long, pc.utf8_slice_codeunits(whole, 0, MAX_CHARACTERS), whole)
    return whole.cast(pa.large_string())


def _strings(column: Any, name: str) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.dictionary_decode()
        kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pc.fill_null(column.cast(pa.large_string()), "")
    if pa.types.is_null(kind):
        return pa.array([""] * len(column), pa.large_string())
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        items = column.flatten()  # of a slice only what it shows, and nothing behind a null
        if pa.types.is_struct(items.type) and items.type.get_field_index("content") >= 0:
            items = (
                items.field("content")
                if not items.null_count
                else pc.struct_field(items, "content")
            )
        lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
        texts = _strings(items, name)
        offsets = pa.array([0, *lengths.cumsum().tolist()], pa.int64())
        lists = pa.LargeListArray.from_arrays(offsets, texts)
        return pc.binary_join(lists, pa.scalar(JOINT, pa.large_string()))
    raise DataError(
        f"Column `{name}` of type {kind} holds no text to look for near-duplicates in.",
        fix="Name columns of text or of conversations.",
    )


@dataclass(frozen=True)
class Folded:
    """Some rows, ready to be compared.

    Args:
        start: Number of the first row.
        content: 64 bits that are equal when the raw texts are.
        texts: Folded inputs.
        targets: Folded targets, or None where there are none to compare.
    """

    start: int
    content: np.ndarray[Any, Any]
    texts: pa.Array
    targets: pa.Array | None


class TextRows:
    """Text of many tables, numbered through, read in batches or at chosen rows.

    Args:
        tables: Tables or record batches that have the columns.
        columns: What is compared, joined.
        targets: What must be alike for itself as well.
    """

    def __init__(
        self,
        tables: Iterable[pa.Table | pa.RecordBatch],
        columns: Sequence[str],
        targets: Sequence[str] = (),
    ) -> None:
        import numpy as np
        import pyarrow as pa

        self.columns, self.targets = list(columns), list(targets)
        names = list(dict.fromkeys([*columns, *targets]))
        self._batches: list[Any] = []
        for table in tables:
            whole = table if isinstance(table, pa.Table) else pa.Table.from_batches([table])
            batches = whole.select(names).to_batches(max_chunksize=BATCH_ROWS)
            self._batches += [part for batch in batches for part in _bounded(batch)]
        self._starts = np.cumsum([0, *(len(batch) for batch in self._batches)], dtype=np.int64)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def count(self) -> int:
        """Return how many batches `fold` can be asked for."""
        return len(self._batches)

    def fold(self, number: int) -> Folded:
        """Return the rows of one batch."""
        batch = self._batches[number]
        raw = joined(batch, self.columns)
        content = raw
        if self.targets:
            content = joined(batch, list(dict.fromkeys([*self.columns, *self.targets])))
        texts, targets = self._folded(batch, raw)
        return Folded(int(self._starts[number]), digests(content), texts, targets)

    def take(self, rows: np.ndarray[Any, Any]) -> tuple[pa.Array, pa.Array | None]:
        """Return folded inputs and targets at rows, which must ascend."""
        import numpy as np
        import pyarrow as pa

        owner = np.searchsorted(self._starts, rows, side="right") - 1
        nothing = pa.array([], pa.large_string())
        texts: list[Any] = [nothing]
        targets: list[Any] = [nothing]
        for number in np.unique(owner).tolist():
            local = rows[owner == number] - self._starts[number]
            batch = self._batches[number].take(pa.array(local))
            one, other = self._folded(batch, joined(batch, self.columns))
            texts.append(one)
            targets += [] if other is None else [other]
        return pa.concat_arrays(texts), pa.concat_arrays(targets) if self.targets else None

    def _folded(self, batch: Any, raw: Any) -> tuple[Any, Any]:
        return folded(raw), folded(joined(batch, self.targets)) if self.targets else None


def _bounded(batch: Any) -> Iterator[Any]:
    """Cut a batch until no part is larger than `BATCH_BYTES` or more than a row."""
    if len(batch) > 1 and batch.nbytes > BATCH_BYTES:
        half = len(batch) // 2
        yield from _bounded(batch.slice(0, half))
        yield from _bounded(batch.slice(half))
    elif len(batch):
        yield batch


def digests(*columns: pa.Array) -> np.ndarray[Any, Any]:
    """Return 64 bits of BLAKE2 a row, over columns of large strings without nulls."""
    return _digests(columns)


def _digests(columns: Sequence[Any]) -> np.ndarray[Any, Any]:
    from hashlib import blake2b

    import numpy as np

    out = bytearray()
    for values in zip(*(_bytes(column) for column in columns), strict=True):
        state = blake2b(values[0], digest_size=8)
        for value in values[1:]:
            state.update(len(value).to_bytes(8, "little"))
            state.update(value)
        out += state.digest()
    return np.frombuffer(bytes(out), np.uint64)


def _bytes(column: Any) -> Iterator[memoryview]:
    import numpy as np

    _, offsets, data = column.buffers()
    bounds = np.frombuffer(offsets, np.int64)[column.offset : column.offset + len(column) + 1]
    view = memoryview(data) if data is not None else memoryview(b"")
    for begin, end in pairwise(bounds.tolist()):
        yield view[begin:end]
