"""Near-duplicates across splits: how many pairs, which ones, which rows; exact ones left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finetune.data.near.clusters import Near

if TYPE_CHECKING:
    import numpy as np

EXAMPLES = 20
UNCUT = ""
"""The split of rows that are in none yet; nothing leaks into it."""


@dataclass(frozen=True)
class Leaks:
    """Rows that are near, but not the same, in different splits.

    Args:
        pairs: How many pairs of rows: all within a cluster, and links between clusters.
        examples: The first pairs, as row numbers, lower first.
        touched: How many rows of each split are in such a pair.
        rows: Which rows are.
    """

    pairs: int
    examples: list[tuple[int, int]]
    touched: dict[str, int]
    rows: np.ndarray[Any, Any]


def leaks(
    near: Near,
    splits: Sequence[str] | np.ndarray[Any, Any],
    *,
    exact: np.ndarray[Any, Any] | None = None,
    examples: int = EXAMPLES,
) -> Leaks:
    """Count what leaks from one split into another, without listing the pairs of large clusters.

    Args:
        near: What `find_near` found, over the rows of all splits.
        splits: The split of each row.
        exact: What rows that are counted as exact duplicates have in common; by default the bytes
            that were compared.
        examples: How many pairs to name.
    """
    import numpy as np

    names, split = np.unique(np.asarray(splits, dtype=str), return_inverse=True)
    _, same = np.unique(near.content if exact is None else exact, return_inverse=True)
    used = (near.clusters >= 0) & (names[split] != UNCUT if len(names) else True)
    at = np.flatnonzero(used)
    cluster, of_split, of_same = near.clusters[at], split[at], same[at]
    width, depth = len(names), int(same.max(initial=0)) + 1
    # In other splits, less the same there: all - own split - same + same in own split.
    in_split, in_same = cluster * width + of_split, cluster * depth + of_same
    partners = _sizes(cluster) - _sizes(in_split) - _sizes(in_same) + _sizes(in_same, of_split)
    touched = np.zeros(len(split), bool)
    touched[at[partners > 0]] = True
    total = int(partners.sum()) // 2
    found = _first_pairs(at[partners > 0], near.clusters, split, same, examples)

    left, right = near.left, near.right
    across = (near.clusters[left] != near.clusters[right]) | (near.clusters[left] < 0)
    across &= (split[left] != split[right]) & (same[left] != same[right])
    if len(names):
        across &= (names[split[left]] != UNCUT) & (names[split[right]] != UNCUT)
    touched[left[across]] = touched[right[across]] = True
    total += int(across.sum())
    links = np.sort(np.stack([left[across], right[across]], 1), axis=1)[: examples - len(found)]
    found += [(int(one), int(other)) for one, other in links]
    counts = np.bincount(split[touched], minlength=width)
    by_name = {str(name): int(count) for name, count in zip(names, counts, strict=True) if count}
    return Leaks(total, found, by_name, touched)


def _sizes(*keys: Any) -> Any:
    """Return for each row how many rows have the same key."""
    import numpy as np

    if not len(keys[0]):
        return np.zeros(0, np.int64)
    whole = keys[0] if len(keys) == 1 else np.stack(keys, 1)
    _, inverse, counts = np.unique(whole, return_inverse=True, return_counts=True, axis=0)
    return counts[inverse]


def _first_pairs(
    rows: Any, clusters: Any, split: Any, same: Any, most: int
) -> list[tuple[int, int]]:
    """Return the first pairs among rows that each have a partner."""
    import numpy as np

    found: list[tuple[int, int]] = []
    for row in rows.tolist():
        if len(found) >= most:
            break
        later = rows[(rows > row) & (clusters[rows] == clusters[row])]
        others = later[(split[later] != split[row]) & (same[later] != same[row])]
        found += [(row, int(other)) for other in np.sort(others)[: most - len(found)]]
    return found
