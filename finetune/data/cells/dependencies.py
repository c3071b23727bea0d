"""Columns that follow from others, and the cells that don't."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

from finetune.data.cells.encoded import Encoded, Found
from finetune.data.cells.templates import written_out

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from finetune.data.cells.encoded import Codes, Mask

    Votes = npt.NDArray[np.int32]

LEAST_GROUP = 3
"""Two rows that disagree don't say which is wrong."""
LEAST_AGREEMENT = 0.9
"""Share of the rows that have their group's usual value; the rest are the errors looked for."""
LEAST_GAIN = 0.3
"""How much of the chance disagreement must be gone: a column with one usual value agrees anyway."""
MAJORITY = 0.75
"""Share of the others in its group that must agree on a value for it to be a vote."""
STRONG = 0.9
LARGE_GROUP = 5
"""What a lone value that could be right must stand against, to be called wrong."""
MOST_MISTYPED = 0.6
"""Share of its letters that a mistyped value may have wrong."""
PROBE_ROWS = 200_000
"""Rows on which dependencies are looked for; those found are then applied to all."""
MOST_PAIRED = 12
"""Columns of which pairs are tried as one key; there are n² of them."""


@dataclass(frozen=True)
class Judged:
    """What the other columns say about the cells of one column.

    Args:
        keys: The columns, or pairs of them, that it follows from.
        found: The contradicted cells with what the others say; None when there are none.
        supported: Rows whose value others of the same group share.
        accused: For each key, the rows in which it speaks against the cell.
    """

    keys: list[str]
    found: Found | None
    supported: Mask
    accused: dict[str, Codes]


def judge(
    columns: Sequence[Encoded],
    *,
    present: Mapping[str, Mask],
    broken: Mapping[str, Codes],
    targets: Collection[str],
) -> dict[str, Judged]:
    """Find the columns that follow from others, and the cells that contradict them.

    Args:
        columns: Columns whose values recur; a number or a name can be a key.
        present: For each column, which distinct values are there at all.
        broken: For each column, rows already known to be wrong, which have no vote.
        targets: Names of the columns to judge; amounts are measured, they follow from nothing.
    """
    import numpy as np

    codes = {
        column.name: np.where(column.of_rows(present[column.name]), column.codes, -1)
        for column in columns
    }
    for name, rows in broken.items():
        codes[name][rows] = -1
    judged = {}
    for target in columns:
        if target.name not in targets:
            continue
        others = [column.name for column in columns if column.name != target.name]
        keys = [name for name in others if _depends(codes[name], codes[target.name])]
        found_keys = [(name, codes[name]) for name in keys]
        if len(keys) < 2 and len(others) <= MOST_PAIRED:
            found_keys += _pairs(others, keys, codes, codes[target.name])
        if found_keys:
            judged[target.name] = _verdict(target, codes[target.name], found_keys)
            exact = written_out(target, [column for column in columns if column is not target])
            if exact is not None:
                judged[target.name] = _upheld(judged[target.name], exact)
    return _acquitted(judged, len(columns[0].codes) if columns else 0)


def _acquitted(judged: dict[str, Judged], rows: int) -> dict[str, Judged]:
    """Where cells of a row accuse each other, blame the one in more contradictions.

    A wrong city contradicts the postcode and the state; the postcode contradicts the city alone.
    Where that is no difference, both stay accused.
    """
    import numpy as np

    contradictions: dict[str, Votes] = {}
    for target, verdict in judged.items():
        for key, accused in verdict.accused.items():
            for name in (target, key):
                total = contradictions.setdefault(name, np.zeros(rows, np.int32))
                total[accused] += 1
    guilty = {
        name: np.isin(np.arange(rows), verdict.found.rows)
        for name, verdict in judged.items()
        if verdict.found is not None
    }
    acquitted = {}
    for target, verdict in judged.items():
        found = verdict.found
        if found is not None:
            held = np.zeros(rows, bool)
            for key, accused in verdict.accused.items():
                if key in guilty:
                    worse = contradictions[key][accused] > contradictions[target][accused]
                    accused = accused[~(guilty[key][accused] & worse)]
                held[accused] = True
            found = found.where(held[found.rows])
        acquitted[target] = replace(verdict, found=found)
    return acquitted


def _upheld(judged: Judged, exact: Mask) -> Judged:
    """Take back what was said against cells that agree with two others letter by letter."""
    found = judged.found and judged.found.where(~exact[judged.found.rows])
    return replace(judged, found=found, supported=judged.supported | exact)


def _pairs(
    others: Sequence[str], keys: Sequence[str], codes: dict[str, Codes], target: Codes
) -> list[tuple[str, Codes]]:
    found = []
    for first, second in combinations([name for name in others if name not in keys], 2):
        joined = _joined(codes[first], codes[second])
        if _depends(joined, target):
            found.append((f"{first} + {second}", joined))
    return found


def _joined(first: Codes, second: Codes) -> Codes:
    """Number the pairs of values; -1 where one of the two is missing."""
    import numpy as np

    joined = first * (int(second.max(initial=0)) + 1) + second
    joined = np.where((first < 0) | (second < 0), -1, joined)
    codes: Codes = np.unique(joined, return_inverse=True)[1].astype(np.int64)
    return codes - 1 if (joined < 0).any() else codes


def _depends(key: Codes, target: Codes) -> bool:
    """Tell whether a target follows from a key nearly always, and more than by chance."""
    import numpy as np

    key, target = key[:PROBE_ROWS], target[:PROBE_ROWS]
    use = (key >= 0) & (target >= 0)
    key, target = key[use], target[use]
    if len(key) == 0:
        return False
    sizes = np.bincount(key)
    grouped = int(sizes[sizes >= LEAST_GROUP].sum())
    if grouped < max(10, 0.2 * len(key)) or (sizes >= LEAST_GROUP).sum() < 2:
        return False
    agree = _agreement(key, target, sizes)
    if agree < LEAST_AGREEMENT:
        return False
    shuffled = np.random.default_rng(0).permutation(target)
    chance = _agreement(key, shuffled, sizes)
    return chance < 1 and (agree - chance) / (1 - chance) >= LEAST_GAIN


def _agreement(key: Codes, target: Codes, sizes: Codes) -> float:
    """Return the share of rows, in groups that count, with their group's most common value."""
    import numpy as np

    pairs, counts = np.unique(key * (int(target.max()) + 1) + target, return_counts=True)
    groups = pairs // (int(target.max()) + 1)
    top = np.zeros(len(sizes), np.int64)
    np.maximum.at(top, groups, counts)
    counted = sizes >= LEAST_GROUP
    return float(top[counted].sum() / sizes[counted].sum())


def _verdict(target: Encoded, codes: Codes, keys: Sequence[tuple[str, Codes]]) -> Judged:
    """Let each key vote on each cell, and count."""
    import numpy as np
    import pyarrow as pa

    against: Votes = np.zeros(len(codes), np.int32)
    support: Votes = np.zeros(len(codes), np.int32)
    proposed: Codes = np.full(len(codes), -1, np.int64)
    accused = {}
    for name, key in keys:
        votes = _votes(target, key, codes)
        accused[name] = votes.against
        against[votes.against] += 1
        support[votes.support] += 1
        fresh = votes.against[proposed[votes.against] < 0]
        proposed[fresh] = votes.usual[fresh]
    rows = np.flatnonzero(against > support)
    names = [name for name, _ in keys]
    supported = (support >= against) & (support > 0)
    if len(rows) == 0:
        return Judged(names, None, supported, accused)
    proposals = target.values.take(pa.array(proposed[rows]))
    found = Found(target.name, "inconsistent", rows, proposals)
    return Judged(names, found, supported, accused)


@dataclass(frozen=True)
class _Votes:
    """Each row's usual value in its group, and the rows whose others oppose or share its own."""

    usual: Codes
    against: Codes
    support: Codes


def _votes(target: Encoded, key: Codes, codes: Codes) -> _Votes:
    """Let the other rows of each row's group vote on its value.

    A value that is usual in another group, or looks nothing like the usual one, may be right: then
    one row stands against a large and nearly unanimous group, or nothing is said.
    """
    import numpy as np

    rows = np.flatnonzero((key >= 0) & (codes >= 0))
    width = int(codes.max(initial=0)) + 1
    pairs, inverse, counts = np.unique(
        key[rows] * width + codes[rows], return_inverse=True, return_counts=True
    )
    groups, values = pairs // width, pairs % width
    sizes = np.bincount(groups, counts, minlength=1).astype(np.int64)
    order = np.lexsort((-values, counts, groups))  # the last of each group is its usual value
    usual = np.full(len(sizes), -1, np.int64)
    top = np.zeros(len(sizes), np.int64)
    usual[groups[order]] = values[order]
    top[groups[order]] = counts[order]
    others = sizes[groups] - 1
    enough = others >= LEAST_GROUP - 1
    home = np.zeros(width, bool)
    home[usual[(sizes >= LEAST_GROUP) & (top >= MAJORITY * sizes)]] = True
    opposed = enough & (values != usual[groups]) & (top[groups] >= MAJORITY * others)
    strong = (counts == 1) & (others >= LARGE_GROUP) & (top[groups] >= STRONG * others)
    doubtful = np.flatnonzero(opposed & ~strong)
    for pair in doubtful[home[values[doubtful]]].tolist():
        opposed[pair] = False
    for pair in doubtful[~home[values[doubtful]]].tolist():
        opposed[pair] = _alike(target, int(values[pair]), int(usual[groups[pair]]))
    shared = (others >= 1) & (counts - 1 >= MAJORITY * others)
    row_usual = np.full(len(codes), -1, np.int64)
    row_usual[rows] = usual[groups[inverse]]
    return _Votes(row_usual, rows[opposed[inverse]], rows[shared[inverse]])


def _alike(target: Encoded, first: int, second: int) -> bool:
    """Tell whether one value could be the other mistyped: most of its letters are in place."""
    from rapidfuzz.distance import OSA

    one, other = target.values[first].as_py(), target.values[second].as_py()
    return OSA.normalized_distance(one, other) <= MOST_MISTYPED
