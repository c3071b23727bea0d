"""Ids of rows, kept as one Arrow array: the file and the line that a row begins in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    import pyarrow as pa

_SLICE = 50_000


class Ids(Sequence[str]):
    """A sequence of texts that costs what their letters cost, not a Python object each.

    Args:
        array: Strings.
    """

    def __init__(self, array: pa.Array) -> None:
        self.array = array

    def __len__(self) -> int:
        return len(self.array)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            found: list[str] = self.array[index].to_pylist()
            return found
        one: str = self.array[index].as_py()
        return one

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self.array), _SLICE):
            yield from self.array.slice(start, _SLICE).to_pylist()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __arrow_array__(self, type: Any = None) -> pa.Array:
        return self.array if type is None else self.array.cast(type)


def numbered(name: str, count: int, *, first: int = 1) -> Ids:
    """Return ``name:1``, ``name:2`` … for rows that have no line."""
    import numpy as np

    return at_lines(name, np.arange(first, first + count, dtype=np.int64))


def at_lines(name: str, lines: Any) -> Ids:
    """Return ``name:LINE`` for each line number.

    Args:
        name: What the file is called.
        lines: Integers, as a numpy array or an `array.array` of type ``q``.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    numbers = pa.array(np.asarray(lines, dtype=np.int64)).cast(pa.string())
    return Ids(pc.binary_join_element_wise(name, numbers, ":"))


def listed(names: Sequence[str]) -> Ids:
    """Return ids that are known one by one."""
    import pyarrow as pa

    return Ids(pa.array(names, pa.string()))


def joined(parts: Sequence[Ids]) -> Ids:
    """Put the ids of several files one after the other."""
    import pyarrow as pa

    return parts[0] if len(parts) == 1 else Ids(pa.concat_arrays([part.array for part in parts]))
