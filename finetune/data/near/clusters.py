"""Candidate pairs → verified pairs → clusters around a representative, whatever the row order.

A cluster holds only what is itself alike enough to its representative: a chain of small steps
from one text to quite another does not make them one. Links between two clusters are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finetune.data.near.buckets import candidates

if TYPE_CHECKING:
    import numpy as np

PATIENCE = 16
"""Two items that have each been compared in vain so often are not compared any more: where a
template makes every row a bit like every other, the search would never end."""
ROUNDS = 32
"""How many representatives one chain of alike items is tried against; the rest stays alone."""

Verify = Callable[[Any, Any], Any]
"""Items and items → the exact similarity of each pair."""


@dataclass(frozen=True)
class Near:
    """Which rows are almost the same.

    Args:
        clusters: Number of each row's cluster, -1 for a row without one.
        left: First row of each verified pair; every row of a cluster is paired with its
            representative, which stands on this side.
        right: Second row of each pair.
        similarity: From the threshold to 1.
        representatives: The row of each cluster that all others are alike to.
        content: 64 bits a row, equal where rows are the same to the byte.
    """

    clusters: np.ndarray[Any, Any]
    left: np.ndarray[Any, Any]
    right: np.ndarray[Any, Any]
    similarity: np.ndarray[Any, Any]
    representatives: np.ndarray[Any, Any]
    content: np.ndarray[Any, Any]

    def kept(self) -> np.ndarray[Any, Any]:
        """Return which rows stay when each cluster is reduced to its representative."""
        stay = self.clusters < 0
        stay[self.representatives] = True
        return stay

    def connected(self) -> np.ndarray[Any, Any]:
        """Return for each row the first row that links lead to from it.

        Coarser than `clusters`: what must not be torn apart by a split.
        """
        return components(len(self.clusters), self.left, self.right)


def components(count: int, left: Any, right: Any) -> np.ndarray[Any, Any]:
    """Return for each item the least item that pairs lead to from it.

    The larger of two roots is hung under the smaller and paths are halved, for all pairs at once,
    until no pair has two roots.
    """
    import numpy as np

    root = np.arange(count)
    while True:
        one, other = root[left], root[right]
        apart = one != other
        if not apart.any():
            return root
        left, right, one, other = left[apart], right[apart], one[apart], other[apart]
        np.minimum.at(root, np.maximum(one, other), np.minimum(one, other))
        while True:
            above = root[root]
            if np.array_equal(above, root):
                break
            root = above


def linked(
    keys: np.ndarray[Any, Any], verify: Verify, threshold: float
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Find pairs that share a band and are alike, enough of them to connect what can be.

    A pair that pairs found before connect is not looked at again, so that ten thousand variants of
    one template cost ten thousand comparisons and not fifty million.

    Args:
        keys: Shape ``(bands, items)``.
        verify: The exact similarity of pairs.
        threshold: What it must reach.

    Returns:
        Pairs, shape ``(pairs, 2)``, and their similarities.
    """
    import numpy as np

    count = keys.shape[1]
    component = np.arange(count)
    pairs, similarity = np.zeros((0, 2), np.int64), np.zeros(0)
    refused = np.zeros(0, np.int64)
    vain = np.zeros(count, np.int64)
    for band in range(len(keys)):
        found = candidates(keys, band)
        hopeful = np.minimum(vain[found[:, 0]], vain[found[:, 1]]) < PATIENCE
        found = found[hopeful & (component[found[:, 0]] != component[found[:, 1]])]
        codes = np.setdiff1d(found[:, 0] * count + found[:, 1], refused)
        if not len(codes):
            continue
        found = np.stack([codes // count, codes % count], 1)
        like = verify(found[:, 0], found[:, 1])
        good = like >= threshold
        refused = np.union1d(refused, codes[~good])
        vain += np.bincount(found[~good].ravel(), minlength=count)
        if good.any():
            pairs = np.concatenate([pairs, found[good]])
            similarity = np.concatenate([similarity, like[good]])
            component = components(count, pairs[:, 0], pairs[:, 1])
    return pairs, similarity


def starred(
    pairs: np.ndarray[Any, Any], count: int, verify: Verify, threshold: float
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Cut what is connected into stars around representatives.

    In each component the item with the most links (of equals the first) takes all that are alike
    to it; of what is left the next one, and so on for `ROUNDS`.

    Args:
        pairs: Verified pairs of items, shape ``(pairs, 2)``.
        count: How many items there are.
        verify: The exact similarity of pairs.
        threshold: What it must reach.

    Returns:
        The representative of each item (itself, where it is alone), and pairs of representative
        and member with their similarities.
    """
    import numpy as np

    component = components(count, pairs[:, 0], pairs[:, 1])
    degree = np.bincount(pairs.ravel(), minlength=count)
    order = np.lexsort((np.arange(count), -degree, component))
    free = order[degree[order] > 0]
    owner = np.arange(count)
    stars, likeness = [np.zeros((0, 2), np.int64)], [np.zeros(0)]
    for _ in range(ROUNDS):
        if not len(free):
            break
        own = component[free]
        first = np.ones(len(free), bool)
        first[1:] = own[1:] != own[:-1]
        head = free[first][np.cumsum(first) - 1]
        like = np.ones(len(free))
        like[~first] = verify(head[~first], free[~first])
        taken = like >= threshold
        owner[free[taken]] = head[taken]
        member = taken & ~first
        stars.append(np.stack([head[member], free[member]], 1))
        likeness.append(like[member])
        free = free[~taken]
    return owner, np.concatenate(stars), np.concatenate(likeness)


def near_rows(
    item: np.ndarray[Any, Any],
    content: np.ndarray[Any, Any],
    keys: np.ndarray[Any, Any],
    verify: Verify,
    threshold: float,
) -> Near:
    """Cluster items and carry the result over to rows.

    Args:
        item: The item of each row, -1 for a row that is not compared. Items are numbered by their
            content, never by position: that makes the result independent of the order of rows.
        content: 64 bits a row.
        keys: Band keys of the items.
        verify: The exact similarity of pairs of items.
        threshold: What it must reach.
    """
    import numpy as np

    count = keys.shape[1]
    compared = np.flatnonzero(item >= 0)
    first = np.full(count, len(item), np.int64)
    np.minimum.at(first, item[compared], compared)
    links, similarity = linked(keys, verify, threshold)
    owner, stars, likeness = starred(links, count, verify, threshold)
    same = compared[first[item[compared]] != compared]
    head = first[owner[item[same]]]
    like = np.ones(len(same))
    # A copy of a member is as alike to the representative as that member.
    to_head = np.ones(count)
    to_head[stars[:, 1]] = likeness
    like = to_head[item[same]]
    apart = owner[links[:, 0]] != owner[links[:, 1]]
    left = np.concatenate([first[stars[:, 0]], head, first[links[apart, 0]]])
    right = np.concatenate([first[stars[:, 1]], same, first[links[apart, 1]]])
    every = np.concatenate([likeness, like, similarity[apart]])
    order = np.lexsort((right, left))

    rows_of = np.bincount(owner[item[compared]], minlength=count)
    clusters = np.full(len(item), -1, np.int64)
    group = owner[item[compared]]
    inside = rows_of[group] > 1
    numbers = np.full(count, -1, np.int64)
    clustered = compared[inside]
    # Numbered by the first row of each, so that reports read from top to bottom.
    seen, where = np.unique(group[inside], return_index=True)
    seen = seen[np.argsort(where)]
    numbers[seen] = np.arange(len(seen))
    clusters[clustered] = numbers[group[inside]]
    return Near(
        clusters, left[order], right[order], every[order].astype(np.float32), first[seen], content
    )
