"""Labels that are probably one label in two spellings: proposed with a reason, applied if asked."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

RARITY = 5
"""A near spelling has so many times fewer rows than what it is taken for."""
LONG_WORD = 5
"""Letters from which a word may differ by one edit: `cat` and `car` are two animals."""
VERY_LONG_WORD = 10
"""Letters from which a word that is there once or twice may differ by two edits."""
MOST_NAMES = 20_000
"""More different labels than this are hardly labels; near spellings are then not looked for."""
LETTER_CLASSES = 10
"""From so many letters with both cases on, case is what the classes are about."""
OPPOSITES = (
    ("hyper", "hypo"), ("inter", "intra"), ("pre", "post"), ("over", "under"), ("in", "de"),
    ("in", "ex"), ("im", "ex"), ("up", "down"), ("macro", "micro"), ("mono", "poly"),
    ("encod", "decod"), ("ante", "anti"), ("endo", "exo"), ("infra", "intra"),
)  # fmt: skip
"""Beginnings that turn a word into another one by an edit or two."""


@dataclass(frozen=True)
class Proposal:
    """A label that is probably meant to be another.

    Args:
        label: As it is written.
        suggested: The most frequent spelling.
        rows: How many rows have `label`.
        reason: What differs: `unicode form`, `blanks`, `case`, `punctuation` or `near spelling`.
    """

    label: str
    suggested: str
    rows: int
    reason: str


def proposals(counts: Mapping[str, int]) -> list[Proposal]:
    """Return the labels that look like misspellings of others, in alphabetical order.

    Labels that differ in nothing but case, blanks, punctuation or Unicode form are one label,
    whose most frequent spelling wins. A rare label whose words differ from those of a frequent
    one by an edit is taken for it, unless the difference is a number, a plural, the first letter
    or a word that other labels have as well: those are classes of their own.

    Args:
        counts: Rows by label.
    """
    case_matters = _is_alphabet(counts)
    groups: dict[str, list[str]] = defaultdict(list)
    for label in counts:
        groups[_key(label, keep_case=case_matters)].append(label)
    winners = {
        key: min(group, key=lambda label: (-counts[label], len(label), label))
        for key, group in groups.items()
    }
    rows = {key: sum(counts[label] for label in group) for key, group in groups.items()}
    near = _near_spellings({key: _words(label) for key, label in winners.items()}, rows)
    found = []
    for key, group in groups.items():
        suggested = winners[near.get(key, key)]
        for label in group:
            if label == suggested:
                continue
            reason = "near spelling" if key in near else _reason(label, suggested)
            found.append(Proposal(label, suggested, counts[label], reason))
    return sorted(found, key=lambda proposal: proposal.label)


def apply(
    column: pa.ChunkedArray | pa.Array, proposed: Iterable[Proposal]
) -> pa.ChunkedArray | pa.Array:
    """Return a column of labels, or of lists of labels, with the proposals carried out.

    Labels of one row that have become the same are kept once.

    Args:
        column: Strings or lists of strings; the type stays.
        proposed: What to replace.
    """
    import pyarrow as pa

    changes = {proposal.label: proposal.suggested for proposal in proposed}
    if not changes:
        return column
    if isinstance(column, pa.ChunkedArray):
        return pa.chunked_array([_applied(chunk, changes) for chunk in column.chunks], column.type)
    return _applied(column, changes)


def _applied(column: pa.Array, changes: Mapping[str, str]) -> pa.Array:
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        return _applied(column.cast(column.type.value_type), changes).cast(column.type)
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        lists = [
            row and list(dict.fromkeys(changes.get(label, label) for label in row))
            for row in column.to_pylist()
        ]
        return pa.array(lists, column.type)
    encoded = column.dictionary_encode()
    names = [changes.get(name, name) for name in encoded.dictionary.to_pylist()]
    return pa.array(names, column.type).take(encoded.indices)


def _is_alphabet(counts: Mapping[str, int]) -> bool:
    """Tell whether the classes are letters, large and small, as in sets of handwriting."""
    single = {label for label in counts if len(label) == 1 and label.isalpha()}
    return sum(label.lower() in single for label in single if label.isupper()) >= LETTER_CLASSES


def _key(label: str, *, keep_case: bool) -> str:
    """Return what stays of a label when case, blanks, joints and Unicode form are let go.

    A point or dash between digits, a sign before a number and one after a letter carry meaning
    (`1.5`, `-1`, `A-`) and stay.
    """
    text = _plain(label)
    if not keep_case:
        text = unicodedata.normalize("NFKC", text.casefold())
    text = re.sub(r"\s*&\s*", " and ", text) if re.search(r"\w\s*&\s*\w", text) else text
    text = re.sub(r"[’‘`´]", "'", text).strip("_ \t\"'.,;:!")
    text = re.sub(r"(?<=\d)[\s_]+(?=\d)", "_", text)
    text = re.sub(r"(?<=[^\W\d_])[\s_\-‐‑–—./']+(?=\w)", "", text)
    text = re.sub(r"(?<=\d)[\s_\-‐‑–—/]+(?=[^\W\d_])", "", text)
    return text or unicodedata.normalize("NFC", label)


def _plain(label: str) -> str:
    """Return a label in compatibility form, without invisible characters, blanks made single."""
    text = unicodedata.normalize("NFKC", label)
    text = "".join(sign for sign in text if unicodedata.category(sign) != "Cf") or text
    return " ".join(text.split())


def _reason(label: str, suggested: str) -> str:
    one, other = (unicodedata.normalize("NFKC", text) for text in (label, suggested))
    if one == other:
        return "unicode form"
    one, other = _plain(one), _plain(other)
    if one == other:
        return "blanks"
    if one.casefold() == other.casefold():
        return "case"
    return "punctuation"


def _words(label: str) -> tuple[str, ...]:
    """Return the words of a label, in lower case; camel case counts as several."""
    text = re.sub(r"(?<=[a-zà-ÿ])(?=[A-ZÀ-Þ])", " ", unicodedata.normalize("NFKC", label))
    return tuple(re.findall(r"[^\W_]+", text.casefold()))


def _near_spellings(words: Mapping[str, Sequence[str]], rows: Mapping[str, int]) -> dict[str, str]:
    """Return what each rare label is a near spelling of, by their keys."""
    if len(words) > MOST_NAMES:
        return {}
    used_by = Counter(word for name in words.values() for word in set(name))
    long = [key for key, name in words.items() if any(len(word) >= LONG_WORD for word in name)]
    long.sort(key=lambda key: (-rows[key], key))
    found: dict[str, str] = {}
    for rare, candidates in _alike(long):
        for frequent in candidates:
            if rows[rare] * RARITY > rows[frequent] or frequent in found:
                continue
            if _is_typo(words[rare], words[frequent], used_by, rows[rare]):
                found[rare] = frequent
                break
    return found


def _alike(keys: Sequence[str]) -> Iterable[tuple[str, list[str]]]:
    """Yield each key with those before it that are at most two edits away, nearest first."""
    import numpy as np
    from rapidfuzz.distance import OSA
    from rapidfuzz.process import cdist

    for start in range(0, len(keys), 512):
        rare, before = keys[start : start + 512], keys[: start + 512]
        edits = cdist(rare, before, scorer=OSA.distance, score_cutoff=2, dtype=np.uint8)
        for place, row in enumerate(edits):
            close = np.flatnonzero(row[: start + place] <= 2)
            if len(close):
                nearest = close[np.argsort(row[close], kind="stable")]
                yield rare[place], [before[other] for other in nearest.tolist()]


def _is_typo(
    rare: Sequence[str], frequent: Sequence[str], used_by: Mapping[str, int], rows: int
) -> bool:
    """Tell whether every word is the other's or a slip of it."""
    if len(rare) != len(frequent):
        return False
    pairs = [(one, other) for one, other in zip(rare, frequent, strict=True) if one != other]
    # What another label uses too is a word of its own: `card` and `cash`.
    return all(used_by[one] == 1 and _is_slip(one, other, rows) for one, other in pairs)


def _is_slip(one: str, other: str, rows: int) -> bool:
    from rapidfuzz.distance import OSA

    short, long = sorted((one, other), key=len)
    if one[0] != other[0] or len(short) < LONG_WORD - 1 or len(long) < LONG_WORD:
        return False
    if [sign for sign in one if sign.isdigit()] != [sign for sign in other if sign.isdigit()]:
        return False
    if long in (short + "s", short + "es", short + "n", short + "y", short + "ed", short + "d"):
        return False
    for left, right in OPPOSITES:
        swapped = {left + word[len(right) :] for word in (one, other) if word.startswith(right)}
        if swapped & {one, other}:
            return False
    edits = OSA.distance(one, other)
    return edits == 1 or (edits == 2 and len(short) >= VERY_LONG_WORD and rows <= 2)
