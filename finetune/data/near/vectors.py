"""Fingerprints as vectors: those that agree in their signs meet, their correlation decides.

Pictures and sound share this: a short vector of coarse values, whose signs make the bands of a
Hamming search, and a longer one that candidates are compared by.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finetune.data.near.clusters import Near, near_rows

if TYPE_CHECKING:
    import numpy as np

BAND_BITS = 8


@dataclass(frozen=True)
class Print:
    """What one picture or recording is compared by.

    Args:
        content: 64 bits of a hash of what was decoded.
        bits: Booleans, most of them the same in a copy.
        vector: 8-bit values, compared by correlation.
        measures: Values that must agree within their tolerances, such as the mean colour.
    """

    content: int
    bits: np.ndarray[Any, Any]
    vector: np.ndarray[Any, Any]
    measures: np.ndarray[Any, Any]


def near_prints(
    prints: Iterable[Print | None], tolerances: Iterable[float], threshold: float
) -> Near:
    """Find what is alike among fingerprints.

    Args:
        prints: One a row, None for a row that is not compared.
        tolerances: How far each measure may be apart.
        threshold: Least correlation of the vectors.
    """
    import numpy as np

    every = list(prints)
    used = np.array([row for row, one in enumerate(every) if one], np.int64)
    content = np.zeros(len(every), np.uint64)
    content[used] = [one.content for one in every if one]
    item = np.full(len(every), -1, np.int64)
    _, first, item[used] = np.unique(content[used], return_index=True, return_inverse=True)
    chosen = [one for row in used[first].tolist() if (one := every[row])]
    if not chosen:
        keys = np.zeros((1, 0), np.uint64)
        return near_rows(item, content, keys, lambda left, _: np.zeros(len(left)), threshold)
    keys = band_keys(np.stack([one.bits for one in chosen]))
    vectors = np.stack([one.vector for one in chosen])
    measures = np.stack([one.measures for one in chosen])
    limits = np.array(list(tolerances))

    def verify(left: Any, right: Any) -> Any:
        out = np.zeros(len(left))
        for begin in range(0, len(left), 4096):
            span = slice(begin, begin + 4096)
            one, other = left[span], right[span]
            like = correlation(vectors[one], vectors[other])
            agree = (np.abs(measures[one] - measures[other]) <= limits).all(1)
            out[span] = np.where(agree, like, 0.0)
        return out

    return near_rows(item, content, keys, verify, threshold)


def band_keys(bits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the bits of each band as a number, shape ``(bands, items)``."""
    import numpy as np

    packed = np.packbits(bits, axis=1)
    if packed.shape[1] % 2:
        packed = np.pad(packed, ((0, 0), (0, 1)))
    # Two bytes a band, each byte in two bands: 8 bits alone meet by chance too often.
    pairs = packed.astype(np.uint64)
    keys = (pairs << np.uint64(BAND_BITS)) | np.roll(pairs, 1, axis=1)
    return np.ascontiguousarray(keys.T)


def correlation(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return Pearson's correlation of rows; 1 for two that are flat, 0 for a flat and another."""
    import numpy as np

    left = one.astype(np.float32) - one.mean(1, keepdims=True, dtype=np.float32)
    right = other.astype(np.float32) - other.mean(1, keepdims=True, dtype=np.float32)
    norms = np.sqrt((left**2).sum(1) * (right**2).sum(1))
    flat = (np.abs(left).max(1) < 1) & (np.abs(right).max(1) < 1)
    product: np.ndarray[Any, Any] = (left * right).sum(1) / np.maximum(norms, 1e-6)
    return np.where(flat, 1.0, np.clip(product, -1, 1)).astype(float)
