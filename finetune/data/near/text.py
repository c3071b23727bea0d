"""Near-duplicates of text: MinHash finds candidates, exact Jaccard of the shingles decides."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from finetune.data.near.clusters import Near, near_rows
from finetune.data.near.minhash import BANDS, band_keys
from finetune.data.near.normal import TextRows, digests
from finetune.data.near.shingles import Sets, jaccard, shingled, together

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

THRESHOLD = 0.8
_PAIR_VALUES = 1 << 21
"""How many shingles are compared at once: what bounds the memory of a comparison."""


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
    import numpy as np

    rows = TextRows(tables, columns, targets)
    with ThreadPoolExecutor(workers or min(4, os.cpu_count() or 1)) as pool:
        item, content, sample = _items(rows, pool)
        keys = np.empty((BANDS, len(sample)), np.uint64)
        sizes = np.empty(len(sample), np.int64)
        # In the order of rows, so that mapped tables are read from front to back.
        by_row = np.argsort(sample)
        parts = np.array_split(by_row, max(1, -(-len(by_row) // 4096)))

        def sign(part: Any) -> None:
            sets = together(*_sets(rows, sample[part]))
            keys[:, part] = band_keys(sets)
            sizes[part] = sets.sizes()

        for _ in pool.map(sign, parts):
            pass

        def verify(left: Any, right: Any) -> Any:
            return _verified(rows, sample, sizes, left, right, threshold, pool)

        return near_rows(item, content, keys, verify, threshold)


def _items(
    rows: TextRows, pool: ThreadPoolExecutor
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return each row's distinct text (-1 for none), its raw hash, and a row with each text."""
    import numpy as np
    import pyarrow.compute as pc

    content = np.empty(len(rows), np.uint64)
    keys = np.empty(len(rows), np.uint64)
    empty = np.empty(len(rows), bool)

    def read(number: int) -> None:
        batch = rows.fold(number)
        span = slice(batch.start, batch.start + len(batch.texts))
        content[span] = batch.content
        columns = [batch.texts] if batch.targets is None else [batch.texts, batch.targets]
        keys[span] = digests(*columns)
        empty[span] = pc.equal(batch.texts, "").to_numpy(zero_copy_only=False)

    for _ in pool.map(read, range(rows.count())):
        pass
    used = np.flatnonzero(~empty)
    _, first, inverse = np.unique(keys[used], return_index=True, return_inverse=True)
    item = np.full(len(rows), -1, np.int64)
    item[used] = inverse
    return item, content, used[first]


def _sets(rows: TextRows, at: Any) -> tuple[Sets, Sets]:
    """Return the shingles of inputs and of targets at rows that ascend."""
    import numpy as np

    texts, targets = rows.take(at)
    if targets is None:
        none = Sets(np.zeros(0, np.uint32), np.zeros(len(texts) + 1, np.int64))
        return shingled(texts), none
    return shingled(texts), shingled(targets)


def _verified(
    rows: TextRows,
    sample: Any,
    sizes: Any,
    left: Any,
    right: Any,
    threshold: float,
    pool: ThreadPoolExecutor,
) -> Any:
    """Return the exact similarity of pairs of texts; 0 where sizes alone forbid the threshold."""
    import numpy as np

    out = np.zeros(len(left))
    small, large = np.minimum(sizes[left], sizes[right]), np.maximum(sizes[left], sizes[right])
    worth = np.flatnonzero(small >= threshold * large)
    if not len(worth):
        return out
    cost = np.cumsum(small[worth] + large[worth])
    cuts = np.flatnonzero(np.diff(cost // _PAIR_VALUES)) + 1

    def compare(part: Any) -> None:
        nodes = np.unique(np.concatenate([sample[left[part]], sample[right[part]]]))
        one, other = (np.searchsorted(nodes, sample[side[part]]) for side in (left, right))
        texts, targets = _sets(rows, nodes)
        out[part] = np.minimum(jaccard(texts, one, other), jaccard(targets, one, other))

    for _ in pool.map(compare, np.split(worth, cuts)):
        pass
    return out
