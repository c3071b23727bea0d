"""Folded texts → sets of hashed shingles: four characters each, and every number by itself.

A set is a bag in disguise: the second occurrence of a shingle hashes to another value than the
first, so that `ha ha` and `ha ha ha ha` differ.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

LENGTH = 4
"""Characters of a shingle. Measured in docs/near_duplicates.md."""
NUMBER_WEIGHT = 16
"""How many shingles a number counts for: rows that differ in a date or an amount mean different
things, and the four shingles that a digit touches would not show it in a text of 60 characters."""
_PRIME = 0x9E3779B97F4A7C15


@dataclass(frozen=True)
class Sets:
    """Sets of 32-bit numbers, one after the other.

    Args:
        values: All of them, those of a row together.
        offsets: Where the set of each row begins, and the end; as many as rows and one more.
    """

    values: np.ndarray[Any, Any]
    offsets: np.ndarray[Any, Any]

    def sizes(self) -> np.ndarray[Any, Any]:
        """Return how many values each row has."""
        sizes: np.ndarray[Any, Any] = self.offsets[1:] - self.offsets[:-1]
        return sizes


def shingled(texts: pa.Array) -> Sets:
    """Return the shingles of each folded text; of an empty one none.

    Args:
        texts: Large strings without nulls and without newlines at their ends.
    """
    import numpy as np
    import pyarrow.compute as pc

    rows = len(texts)
    # What is shorter than a shingle is one shingle: near to nothing but itself.
    padded = pc.utf8_rpad(texts, width=LENGTH - 2, padding="\n")
    lengths = pc.utf8_length(padded).to_numpy().astype(np.int64)
    whole = "\n" + "\n".join(padded.to_pylist()) + "\n" * LENGTH
    codes = np.frombuffer(whole.encode("utf-32-le", "surrogatepass"), np.uint32)
    hashes = codes[: len(codes) - LENGTH + 1].astype(np.uint64)
    for place in range(1, LENGTH):
        hashes *= np.uint64(_PRIME)
        hashes += codes[place : len(codes) - LENGTH + 1 + place]
    # A row owns the newline before it and borrows the one after: the rest crosses into the next.
    begins = np.concatenate([[0], np.cumsum(lengths + 1)[:-1]]) if rows else lengths
    counts = lengths - (LENGTH - 3)
    empty = pc.equal(texts, "").to_numpy(zero_copy_only=False)
    counts = np.where(empty, 0, counts)
    owner = np.repeat(np.arange(rows, dtype=np.uint64), counts)
    inside = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    hashes = hashes[np.repeat(begins, counts) + inside]
    numbers, number_owner = _numbers(codes, begins)
    keys = np.concatenate(
        [
            (owner << np.uint64(32)) | (mixed(hashes) >> np.uint64(32)),
            (number_owner << np.uint64(32)) | (mixed(numbers) >> np.uint64(32)),
        ]
    )
    keys.sort()
    return _bags(keys, rows)


def _bags(keys: np.ndarray[Any, Any], rows: int) -> Sets:
    import numpy as np

    owner = (keys >> np.uint64(32)).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=rows))])
    first = np.ones(len(keys), bool)
    first[1:] = keys[1:] != keys[:-1]
    starts = np.flatnonzero(first)
    nth = np.arange(len(keys)) - np.repeat(starts, np.diff(np.append(starts, len(keys))))
    values = keys.astype(np.uint32)
    again = np.flatnonzero(nth)
    repeated = mixed(values[again] + nth[again].astype(np.uint64) * np.uint64(_PRIME))
    values[again] = repeated >> np.uint64(32)
    return Sets(values, offsets)


def _numbers(
    codes: np.ndarray[Any, Any], begins: np.ndarray[Any, Any]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return hashes of the runs of digits, each `NUMBER_WEIGHT` times, and the row of each."""
    import numpy as np

    digit = _digits()[np.minimum(codes, 0xFFFF)]
    places = np.flatnonzero(digit)
    if not len(places):
        return np.zeros(0, np.uint64), np.zeros(0, np.uint64)
    first = np.ones(len(places), bool)
    first[1:] = np.diff(places) > 1
    starts = np.flatnonzero(first)
    spans = np.diff(np.append(starts, len(places)))
    position = np.arange(len(places)) - np.repeat(starts, spans)
    powers = np.cumprod(np.full(int(spans.max()), _PRIME, np.uint64))
    hashes = np.add.reduceat(codes[places].astype(np.uint64) * powers[position], starts)
    owner = np.searchsorted(begins, places[starts], side="right") - 1
    salts = np.arange(1, NUMBER_WEIGHT + 1, dtype=np.uint64) * np.uint64(0xD1B54A32D192ED03)
    spread = (hashes[:, None] ^ salts).ravel()
    return spread, np.repeat(owner, NUMBER_WEIGHT).astype(np.uint64)


@cache
def _digits() -> np.ndarray[Any, Any]:
    import numpy as np

    found = [unicodedata.category(chr(code)) == "Nd" for code in range(0x10000)]
    found[0xFFFF] = False  # stands for every character above
    table: np.ndarray[Any, Any] = np.array(found)
    return table


def mixed(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return 64-bit numbers with every bit depending on every bit (the finaliser of splitmix64)."""
    import numpy as np

    out = values.astype(np.uint64)
    out ^= out >> np.uint64(30)
    out *= np.uint64(0xBF58476D1CE4E5B9)
    out ^= out >> np.uint64(27)
    out *= np.uint64(0x94D049BB133111EB)
    out ^= out >> np.uint64(31)
    return out


def stacked(parts: list[Sets]) -> Sets:
    """Return the rows of all parts, which are emptied on the way to hold nothing twice."""
    import numpy as np

    sizes = np.concatenate([np.zeros(1, np.int64), *(part.sizes() for part in parts)])
    offsets = np.cumsum(sizes)
    values = np.empty(int(offsets[-1]), np.uint32)
    end = len(values)
    while parts:
        last = parts.pop().values
        values[end - len(last) : end] = last
        end -= len(last)
    return Sets(values, offsets)


def together(one: Sets, other: Sets) -> Sets:
    """Return for each row what either has, those of `other` as values of their own."""
    import numpy as np

    salted = (mixed(other.values.astype(np.uint64) + np.uint64(_PRIME))).astype(np.uint32)
    rows = np.arange(len(one.offsets) - 1)
    owner = np.concatenate([np.repeat(rows, one.sizes()), np.repeat(rows, other.sizes())])
    order = np.argsort(owner, kind="stable")
    values = np.concatenate([one.values, salted])[order]
    return Sets(values, one.offsets + other.offsets)


def jaccard(
    sets: Sets, left: np.ndarray[Any, Any], right: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """Return ``|A ∩ B| / |A ∪ B|`` of pairs of rows; 1 where both sets are empty."""
    import numpy as np

    sizes = sets.sizes()
    pairs = np.arange(len(left), dtype=np.uint64)
    keys = []
    for rows in (left, right):
        counts = sizes[rows]
        inside = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        values = sets.values[np.repeat(sets.offsets[rows], counts) + inside]
        keys.append((np.repeat(pairs, counts) << np.uint64(32)) | values)
    both = np.concatenate(keys)
    both.sort()
    twice = both[1:][both[1:] == both[:-1]]
    common = np.bincount((twice >> np.uint64(32)).astype(np.int64), minlength=len(left))
    union = sizes[left] + sizes[right] - common
    return np.where(union > 0, common / np.maximum(union, 1), 1.0)
