"""Cells that hold what belongs into another column: swapped, or two run together."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING

from finetune.data.cells.encoded import Encoded, Found

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finetune.data.cells.encoded import Codes, Mask

KNOWN_COUNT = 2
"""A value seen this often in a column belongs to it."""
OVERLAP = 0.02
"""Columns that share values in more cells than this have one domain: home team and guest."""
MOST_SHARE = 0.2
"""What is so in more cells than this is how the column is written, not a slip."""


def run_together(columns: Sequence[Encoded], present: dict[str, Mask]) -> list[Found]:
    """Find cells that end with the value of another column, which is empty in that row.

    Both cells are found, `San Francisco CA` and the empty state, each with its part proposed.
    """
    found = []
    for first, second in permutations(columns, 2):
        found += _run_together(first, second, present)
    return found


def _run_together(first: Encoded, second: Encoded, present: dict[str, Mask]) -> list[Found]:
    import numpy as np
    import pyarrow as pa

    empty = ~second.of_rows(present[second.name])
    if not empty.any() or empty.all():
        return []
    known = present[second.name] & (second.counts >= KNOWN_COUNT)
    domain = {second.texts[code] for code in np.flatnonzero(known)}
    candidates = np.unique(first.codes[empty & first.of_rows(present[first.name])])
    parts = {}
    for code in candidates.tolist():
        split = _split(first.texts[code], domain)
        if split:
            parts[code] = split
    if not parts:
        return []
    flagged = np.zeros(len(first.values), bool)
    flagged[list(parts)] = True
    rows = np.flatnonzero(first.of_rows(flagged) & empty)
    filled = int((~empty).sum())
    # In a column of texts, words that happen to end it are no evidence, nor is a single row.
    if len(rows) > MOST_SHARE * len(empty) or len(rows) > filled:
        return []
    codes = first.codes[rows].tolist()
    heads = pa.array([parts[code][0] for code in codes], pa.string())
    tails = pa.array([parts[code][1] for code in codes], pa.string())
    return [
        Found(first.name, "run_together", rows, heads),
        Found(second.name, "run_together", rows, tails),
    ]


def _split(text: str, domain: set[str]) -> tuple[str, str] | None:
    """Split off the longest ending (or beginning) of whole words that the domain knows."""
    words = text.replace(",", " ").replace(";", " ").split()
    for cut in range(1, len(words)):
        if (tail := " ".join(words[cut:])) in domain:
            return " ".join(words[:cut]), tail
    return None


def elsewhere(columns: Sequence[Encoded], present: dict[str, Mask]) -> list[Found]:
    """Find cells whose value is foreign to their column, but common in another column.

    Where both cells of a row are foreign to their columns and at home in each other's, they were
    swapped, and each is proposed for the other.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    found = []
    for first, second in permutations(columns, 2):
        place = pc.index_in(first.values, value_set=second.values)
        there = pc.fill_null(place, -1).to_numpy(zero_copy_only=False).astype(np.int64)
        home = np.append(np.where(present[second.name], second.counts, 0), 0)[there]
        foreign = (home >= 5 * np.maximum(first.counts, 1)) & (home >= 5) & present[first.name]
        # A value seen a few times in the other column may itself have been swapped there.
        shared = (home > 0) & ~foreign & (first.counts < 5 * home) & present[first.name]
        both = first.counts[shared].sum() + first.counts[foreign].sum()
        if both > OVERLAP * len(first.codes):
            continue
        rows = np.flatnonzero(first.of_rows(foreign))
        if len(rows) == 0:
            continue
        proposals = _swapped(first, second, rows)
        found.append(Found(first.name, "other_column", rows, pa.array(proposals, pa.string())))
    return found


def _swapped(first: Encoded, second: Encoded, rows: Codes) -> list[str | None]:
    """Propose the other cell of the row where it is at home in the first column."""
    import numpy as np

    at_home = {first.texts[code] for code in np.flatnonzero(first.counts >= KNOWN_COUNT)}
    other = second.codes[rows].tolist()
    texts = [second.texts[code] if code >= 0 else None for code in other]
    return [text if text in at_home else None for text in texts]
