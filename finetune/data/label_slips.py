"""Rare names that are a slip of the pen away from a frequent one: near spellings of labels.

Two names must have the same words but for one or two letters inside long words, and one must be
far rarer. Endings, opposites, numbers and short words are never slips: `card`, `cards`; `import`,
`export`; `class_10`, `class_11`; `cat`, `car`.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

RARER = 8
"""A misspelt name has at most this part of the rows of the right one: classes that are rare on
their own are seldom so much rarer than the one name they resemble."""
LONG_WORD = 5
"""Letters a misspelt word has at least; shorter words have too many neighbours: cat, car, can."""
LONG_NAME = 8
"""Letters from which on any wrong letter counts, not only one that is easily hit or heard wrong."""
TWO_IN_A_WORD = 9
"""Letters from which on a word may have two slips: Slovakia and Slovenia are two apart."""
LETTERS_PER_EDIT = 8
MOST_EDITS = 3
OPPOSITES = (
    *(("hyper", "hypo"), ("inter", "intra"), ("macro", "micro"), ("over", "under")),
    *(("pre", "pro"), ("pre", "post"), ("per", "pro"), ("ante", "anti"), ("mono", "poly")),
)
"""What turns a word into its opposite or a relative, wherever it stands in it."""
KEYBOARD = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
VOWELS = frozenset("aeiouy")
SOUNDS = frozenset(map(frozenset, ("cs", "ck", "sz", "kq", "vw", "gj", "mn", "bp", "dt")))


class Slip(NamedTuple):
    """A rare name, the frequent name that it probably is, and why."""

    name: str
    right: str
    reason: str


def slips(words: Mapping[str, Sequence[str]], rows: Mapping[str, int]) -> Iterator[Slip]:
    """Yield names that are probably misspelt; where two names are as near, none.

    Args:
        words: The words of each name, in lower case.
        rows: How often each name occurs.
    """
    from rapidfuzz.distance import OSA
    from rapidfuzz.process import extract

    totals: dict[str, int] = defaultdict(int)
    for name, parts in words.items():
        for word in set(parts):
            totals[word] += rows[name]
    spoken = [name for name in words if words[name]]
    joined = {name: " ".join(words[name]) for name in spoken if rows[name] >= RARER}
    misspelt: set[str] = set()
    for name in sorted(spoken, key=lambda one: (rows[one], one)):
        most = min(MOST_EDITS, 1 + sum(map(len, words[name])) // (LETTERS_PER_EDIT + 1))
        spelt = " ".join(words[name])
        close = extract(spelt, joined, scorer=OSA.distance, score_cutoff=most, limit=None)
        fits = sorted(
            (distance, -rows[other], other)
            for _, distance, other in close
            if rows[name] * RARER <= rows[other]
            and other not in misspelt
            and _is_slip(words[name], words[other], totals)
        )
        # Of two names as near, there is no telling which was meant.
        if fits and (len(fits) == 1 or fits[0][0] < fits[1][0]):
            misspelt.add(name)
            right = fits[0][2]
            same = [_bare(one) for one in words[name]] == [_bare(one) for one in words[right]]
            yield Slip(name, right, "accents" if same else "near spelling")


def _is_slip(slip: Sequence[str], right: Sequence[str], totals: Mapping[str, int]) -> bool:
    """Tell whether each word is the same, or misspelt and not a word of other names."""
    letters = sum(map(len, right))
    return len(slip) == len(right) and all(
        one == other or (totals[one] * RARER <= totals[other] and _misspelt(one, other, letters))
        for one, other in zip(slip, right, strict=True)
    )


def _misspelt(slip: str, right: str, letters: int) -> bool:
    """Tell whether a word is probably another one with a wrong letter inside.

    Args:
        slip: The rare word.
        right: The frequent word.
        letters: Length of the whole name.
    """
    from rapidfuzz.distance import OSA

    if not all(_cased(character) for character in slip + right):
        return False  # A digit, a sign, or a script in which one character is a whole word.
    if _bare(slip) == _bare(right):
        return True
    if min(len(slip), len(right)) < LONG_WORD or slip[0] != right[0]:
        return False
    if slip.startswith(right) or right.startswith(slip):
        return False
    head = _shared(slip, right)
    tail = min(_shared(slip[::-1], right[::-1]), min(len(slip), len(right)) - head)
    left, other = slip[head : len(slip) - tail], right[head : len(right) - tail]
    if _is_ending(left, other, tail) or any(
        right in (slip.replace(one, another), slip.replace(another, one))
        for one, another in OPPOSITES
    ):
        return False
    distance = OSA.distance(slip, right)
    if distance == 2 and min(len(slip), len(right)) >= TWO_IN_A_WORD:
        return True
    if distance != 1:
        return False
    return letters >= LONG_NAME or len(left) != 1 or len(other) != 1 or _alike(left, other)


def _is_ending(left: str, other: str, tail: int) -> bool:
    """Tell whether words differ in how they end: payer, payee; woman, women; crisis, crises."""
    if len(left) == 2 and left == other[::-1]:
        return False  # Two letters swapped.
    return tail == 0 or (tail == 1 and {*left, *other} <= VOWELS)


def _alike(one: str, other: str) -> bool:
    """Tell whether two letters are easily written for one another."""
    if {one, other} <= VOWELS or frozenset((one, other)) in SOUNDS:
        return True
    return any(
        one in row and other in row and abs(row.index(one) - row.index(other)) == 1
        for row in KEYBOARD
    )


def _shared(one: str, other: str) -> int:
    """Return how many letters two words begin with alike."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


def _cased(character: str) -> bool:
    return character.lower() != character.upper()


def _bare(word: str) -> str:
    """Return a word without the accents of Latin letters; elsewhere marks are letters."""
    parts = unicodedata.normalize("NFD", word)
    if not any("a" <= part.lower() <= "z" for part in parts):
        return word
    return "".join(part for part in parts if not unicodedata.combining(part))
