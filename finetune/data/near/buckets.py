"""Band keys → candidate pairs, a bounded number for each item however many share a key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

SMALL = 16
"""In a bucket of up to so many items every pair is a candidate."""
HUBS = 2
"""In a larger one each item meets the first few, and as many that come after it."""


def candidates(keys: np.ndarray[Any, Any], band: int) -> np.ndarray[Any, Any]:
    """Return pairs of items with the same key in a band, shape ``(pairs, 2)``, lower item first.

    Inside a large bucket items are put in order of the next band's key, so that those which share
    two bands are neighbours and meet.

    Args:
        keys: Shape ``(bands, items)``.
        band: Which of the bands.
    """
    import numpy as np

    order = np.lexsort((keys[(band + 1) % len(keys)], keys[band]))
    own = keys[band][order]
    first = np.ones(len(own), bool)
    first[1:] = own[1:] != own[:-1]
    starts = np.flatnonzero(first)
    sizes = np.diff(np.append(starts, len(own)))
    place = np.arange(len(own)) - np.repeat(starts, sizes)
    size = np.repeat(sizes, sizes)
    found = []
    for step in range(1, min(SMALL, int(sizes.max(initial=0)))):
        reach = np.where(size <= SMALL, SMALL, HUBS + 1)
        near = np.flatnonzero((place + step < size) & (step < reach))
        found.append(np.stack([order[near], order[near + step]], 1))
    large = np.flatnonzero(sizes > SMALL)
    if len(large):
        found.append(_to_hubs(order, starts[large], sizes[large]))
    if not found:
        return np.zeros((0, 2), np.int64)
    pairs = np.sort(np.concatenate(found), axis=1).astype(np.int64)
    return np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0) if len(large) else pairs


def _to_hubs(
    order: np.ndarray[Any, Any], starts: np.ndarray[Any, Any], sizes: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """Pair every item of large buckets with the least items there, the same ones in every band."""
    import numpy as np

    found = []
    for start, size in zip(starts.tolist(), sizes.tolist(), strict=True):
        items = order[start : start + size]
        for hub in np.partition(items, HUBS)[:HUBS]:
            found.append(np.stack([np.full(size, hub), items], 1))
    return np.concatenate(found)
