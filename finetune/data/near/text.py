"""Near-duplicates of text: MinHash finds candidates, exact Jaccard of the shingles decides."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from finetune.data.near.clusters import Near, near_rows
from finetune.data.near.minhash import BANDS, band_keys
from finetune.data.near.normal import TextRows, digests
from finetune.data.near.shingles import Sets, jaccard, shingled, stacked, together

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    _Array = np.ndarray[Any, Any]

THRESHOLD = 0.8
_PART_VALUES = 1 << 20
"""How many shingles are made or compared at once: what bounds the memory of a thread."""
_HELD_VALUES = 1 << 27
"""Up to so many shingles (512 MiB) are held between the two passes; more are made again."""


def find_near(
    tables: Iterable[pa.Table | pa.RecordBatch],
    columns: Sequence[str] = ("text",),
    *,
    targets: Sequence[str] = (),
    threshold: float = THRESHOLD,
    workers: int | None = None,
) -> Near:
    """Find rows whose text is almost the same.

    Rows that are the same after folding (case, blanks, punctuation, accents) are always together;
    rows without any text are never.

    Args:
        tables: Read one after the other; rows are numbered through.
        columns: Text or conversations, joined.
        targets: Text that must reach the threshold for itself as well, so that the same question
            with quite another answer is no duplicate. A class is none of these.
        threshold: Least Jaccard similarity of the shingles.
        workers: Threads.

    Raises:
        DataError: A column holds no text.
    """
    rows = TextRows(tables, columns, targets)
    with ThreadPoolExecutor(workers or min(4, os.cpu_count() or 1)) as pool:
        item, content, sample, characters = _items(rows, pool)
        shingles = _Shingles(rows, sample, characters, pool)
        return near_rows(
            item,
            content,
            shingles.keys,
            lambda left, right: shingles.verify(left, right, threshold),
            threshold,
        )


def _items(rows: TextRows, pool: ThreadPoolExecutor) -> tuple[_Array, _Array, _Array, _Array]:
    """Return each row's distinct text (-1 for none), its raw hash, a row with each text, lengths.

    Distinct texts are numbered by their hash, so that nothing depends on the order of rows.
    """
    import numpy as np
    import pyarrow.compute as pc

    content = np.empty(len(rows), np.uint64)
    keys = np.empty(len(rows), np.uint64)
    characters = np.empty(len(rows), np.int64)
    empty = np.empty(len(rows), bool)

    def read(number: int) -> None:
        batch = rows.fold(number)
        span = slice(batch.start, batch.start + len(batch.texts))
        content[span] = batch.content
        columns = [batch.texts] if batch.targets is None else [batch.texts, batch.targets]
        keys[span] = digests(*columns)
        characters[span] = sum(pc.utf8_length(column).to_numpy() for column in columns)
        empty[span] = pc.equal(batch.texts, "").to_numpy(zero_copy_only=False)

    for _ in pool.map(read, range(rows.count())):
        pass
    used = np.flatnonzero(~empty)
    _, first, inverse = np.unique(keys[used], return_index=True, return_inverse=True)
    item = np.full(len(rows), -1, np.int64)
    item[used] = inverse
    sample = used[first]
    return item, content, sample, characters[sample]


class _Shingles:
    """Band keys of distinct texts, and their exact likeness.

    Args:
        rows: Where the texts are.
        sample: A row with each text.
        characters: How long each text is.
        pool: Who works.
    """

    def __init__(
        self, rows: TextRows, sample: _Array, characters: _Array, pool: ThreadPoolExecutor
    ) -> None:
        import numpy as np

        self._rows, self._sample, self._pool = rows, sample, pool
        self.keys = np.empty((BANDS, len(sample)), np.uint64)
        self._sizes = np.empty(len(sample), np.int64)
        # In the order of rows, so that mapped tables are read from front to back.
        order = np.argsort(sample)
        self._place = np.empty(len(sample), np.int64)
        self._place[order] = np.arange(len(sample))
        hold = bool(characters.sum() <= _HELD_VALUES)
        parts = [part for part in _cut(order, characters[order]) if len(part)]

        def sign(part: _Array) -> tuple[Sets, Sets] | None:
            texts, targets = self._sets(sample[part])
            both = together(texts, targets) if rows.targets else texts
            self.keys[:, part] = band_keys(both)
            self._sizes[part] = both.sizes()
            return (texts, targets) if hold else None

        made = [sets for sets in pool.map(sign, parts) if sets]
        self._held = None
        if hold:
            texts, targets = [sets[0] for sets in made], [sets[1] for sets in made]
            del made
            self._held = stacked(texts), stacked(targets)

    def verify(self, left: _Array, right: _Array, threshold: float) -> _Array:
        """Return the likeness of pairs; 0 where sizes alone forbid that it reaches a threshold."""
        import numpy as np

        out = np.zeros(len(left))
        one, other = self._sizes[left], self._sizes[right]
        worth = np.flatnonzero(np.minimum(one, other) >= threshold * np.maximum(one, other))

        def compare(part: _Array) -> None:
            sides = left[part], right[part]
            if self._held:
                texts, targets = self._held
                first, second = (self._place[side] for side in sides)
            else:
                nodes = np.unique(self._sample[np.concatenate(sides)])
                texts, targets = self._sets(nodes)
                first, second = (np.searchsorted(nodes, self._sample[side]) for side in sides)
            like = jaccard(texts, first, second)
            if self._rows.targets:
                like = np.minimum(like, jaccard(targets, first, second))
            out[part] = like

        for _ in self._pool.map(compare, _cut(worth, (one + other)[worth])):
            pass
        return out

    def _sets(self, at: _Array) -> tuple[Sets, Sets]:
        """Return the shingles of inputs and of targets at rows that ascend."""
        import numpy as np

        texts, targets = self._rows.take(at)
        if targets is None:
            none = Sets(np.zeros(0, np.uint32), np.zeros(len(texts) + 1, np.int64))
            return shingled(texts), none
        return shingled(texts), shingled(targets)


def _cut(numbers: _Array, costs: _Array) -> list[_Array]:
    """Cut numbers into parts of bounded cost, each with one number at least."""
    import numpy as np

    return np.split(numbers, np.flatnonzero(np.diff(np.cumsum(costs) // _PART_VALUES)) + 1)
