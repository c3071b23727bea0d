"""How lengths are distributed: a histogram, and the padding that they cost."""

from __future__ import annotations

from typing import Any

BINS = 20
MICRO_BATCH = 32


def histogram(lengths: Any) -> list[list[int]]:
    """Return ``[from, to, rows]`` of bins of equal width; both ends belong to the bin."""
    import numpy as np

    if not len(lengths):
        return []
    low, high = int(lengths.min()), int(lengths.max())
    width = max(1, -(-(high - low + 1) // BINS))
    counts = np.bincount((lengths - low) // width)
    return [
        [low + index * width, low + (index + 1) * width - 1, int(count)]
        for index, count in enumerate(counts)
    ]


def padding(lengths: Any, *, seed: int) -> dict[str, float] | None:
    """Return the share of padding in micro-batches of random order, and of similar length."""
    import numpy as np

    if not len(lengths) or not lengths.sum():
        return None
    shuffled = np.random.default_rng(seed).permutation(lengths)
    return {"random": _padded(shuffled), "by_length": _padded(np.sort(lengths))}


def _padded(lengths: Any) -> float:
    import numpy as np

    starts = np.arange(0, len(lengths), MICRO_BATCH)
    longest = np.maximum.reduceat(lengths, starts)
    sizes = np.diff(np.append(starts, len(lengths)))
    return round(float(1 - lengths.sum() / (longest * sizes).sum()), 4)
