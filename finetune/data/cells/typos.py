"""Rare values of a category that are nearly a common one."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING

from finetune.data.cells.encoded import Encoded, Found, by_value

if TYPE_CHECKING:
    from finetune.data.cells.encoded import Mask

MOST_VALUES = 20_000
"""Distinct values up to which every rare one is compared with every common one."""
MOST_COMPARISONS = 60_000_000
"""Comparisons of two values that take seconds; beyond, only the commonest are compared with."""
RARER = 8
"""How many times more common the right spelling must be."""
_DIGITS = re.compile(r"\d+")


def variants(column: Encoded, present: Mask) -> Found | None:
    """Find values that differ from a more common one in case, space, accents or signs alone."""
    import numpy as np

    if len(column.values) > MOST_VALUES:
        return None
    groups: dict[str, list[int]] = {}
    for code in np.flatnonzero(present).tolist():
        groups.setdefault(_plain(column.texts[code]), []).append(code)
    proposals: dict[int, str | None] = {}
    for plain, codes in groups.items():
        if len(codes) < 2 or not plain:
            continue
        best = max(codes, key=lambda code: (column.counts[code], column.texts[code]))
        proposals |= {code: column.texts[best] for code in codes if code != best}
    return by_value(column, "spelling", proposals)


def typos(column: Encoded, present: Mask) -> Found | None:
    """Find rare values a few letters from a common one; digits that differ are no slip.

    A proposal is given where one common value is nearest.
    """
    import numpy as np
    from rapidfuzz.distance import OSA
    from rapidfuzz.process import cdist

    counts = np.where(present, column.counts, 0)
    if len(column.values) > MOST_VALUES or not counts.any():
        return None
    by_count = np.argsort(-counts, kind="stable")
    top = by_count[counts[by_count] >= RARER]
    rare = np.flatnonzero((counts > 0) & (counts * RARER <= counts.max()))
    if len(top) == 0 or len(rare) == 0:
        return None
    top = top[: max(1, MOST_COMPARISONS // len(rare))]
    common_texts = [column.texts[code] for code in top]
    common_counts = counts[top]
    few = int((np.cumsum(common_counts) < 0.95 * counts.sum()).sum()) + 1 <= 3
    words = Counter(
        word for code in np.flatnonzero(counts) for word in set(column.texts[code].split())
    )
    proposals: dict[int, str | None] = {}
    for start in range(0, len(rare), 1000):
        block = rare[start : start + 1000]
        texts = [column.texts[code] for code in block]
        most = max(_allowed(text, few=few) for text in texts)
        if most == 0:
            continue
        far = most + 1
        distances = cdist(
            texts, common_texts, scorer=OSA.distance, score_cutoff=most, dtype=np.uint8, workers=1
        )
        allowed = np.array([_allowed(text, few=few) for text in texts])
        fits = (distances <= allowed[:, None]) & (distances < far)
        fits &= counts[block][:, None] * RARER <= common_counts[None, :]
        for index in np.flatnonzero(fits.any(1)).tolist():
            near = [
                place
                for place in np.flatnonzero(fits[index]).tolist()
                if _slip(texts[index], common_texts[place])
                and _by_words(texts[index], common_texts[place], words)
            ]
            if near:
                least = min(int(distances[index][place]) for place in near)
                best = [place for place in near if distances[index][place] == least]
                proposals[int(block[index])] = common_texts[best[0]] if len(best) == 1 else None
    return by_value(column, "typo", proposals)


def _allowed(text: str, *, few: bool) -> int:
    """Return how many edits a value of this length may be away: short words are often near."""
    length = len(text)
    if length < 2:
        return 0
    if length < 4:
        return int(few)
    return 1 if length < 8 else max(2, min(length // 6, 8))


def _slip(rare: str, common: str) -> bool:
    """Tell whether one is the other mistyped: other digits, or one digit more, are other things."""
    if _DIGITS.findall(rare) == _DIGITS.findall(common):
        return True
    return len(rare) == len(common) and all(
        not ours.isdigit() or ours == theirs for ours, theirs in zip(rare, common, strict=True)
    )


def _by_words(rare: str, common: str, words: Counter[str]) -> bool:
    """Tell whether each word that differs is that word mistyped, not another word of the column."""
    from rapidfuzz.distance import OSA

    ours, theirs = rare.split(), common.split()
    if len(ours) != len(theirs) or len(ours) == 1:
        return True
    return all(
        one == other or (words[one] < 2 and OSA.distance(one, other) <= max(1, len(other) // 4))
        for one, other in zip(ours, theirs, strict=True)
    )


def _plain(text: str) -> str:
    folded = unicodedata.normalize("NFKD", text).casefold()
    kept = "".join(
        sign for sign in folded if sign.isalnum() or (sign in "+#.,%/-" and not sign.isspace())
    )
    return kept if any(sign.isalnum() for sign in kept) else ""
