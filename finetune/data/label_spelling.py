"""Spellings of labels that are probably one label: proposed from the counts, applied when asked.

Names are compared by what is left without case, blanks, separators and Unicode variants; after
that, a rare name that is a slip of the pen away from a frequent one is proposed as a near spelling.
Numbers and signs are never bent: `label_1` is not `label_2`, `A-` is not `A`, `c++` is not `c`.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from finetune.data.label_slips import slips

if TYPE_CHECKING:
    import pyarrow as pa

ALPHABET = 5
"""Different one-letter names from which on they are characters, so that `a` is not `A`."""
SIGNED = 2
"""Letters up to which a dash at the end is a sign: the marks `A-`, the blood group `AB-`."""
SEPARATORS = re.compile(r"[\s_\-.,;:!?¡¿'\"`´‘’‚“”„«»(){}\[\]/\\|·•]+")
"""What parts words; other signs (`+`, `#`, `&`, `%`, `*`, pictures) are part of a name."""


@dataclass(frozen=True)
class Proposal:
    """One spelling and the one that it probably stands for."""

    label: str
    """As it is written."""
    suggested: str
    """The most frequent spelling of the same name."""
    rows: int
    """Rows with this spelling."""
    reason: str
    """In what they differ: case, blanks, punctuation, Unicode form, accents or near spelling."""


def proposals(counts: Mapping[str, int]) -> list[Proposal]:
    """Propose one spelling for labels that are probably the same.

    Args:
        counts: Rows by label, over all splits.

    Returns:
        What to replace by what, most rows first. No suggestion is itself replaced.
    """
    names = [name for name in counts if isinstance(name, str) and name.strip()]
    alphabet = len({name.strip().lower() for name in names if len(name.strip()) == 1}) >= ALPHABET
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        character = alphabet and len(name.strip()) == 1
        groups[name.strip() if character else _key(name)].append(name)
    best: dict[str, str] = {}
    reasons: dict[str, str] = {}
    members: dict[str, list[str]] = {}
    for group in groups.values():
        for spellings in _same_words(group, counts):
            winner = min(spellings, key=lambda name: (-counts[name], _plainness(name), name))
            members[winner] = spellings
            for name in spellings:
                if name != winner:
                    best[name], reasons[name] = winner, _reason(name, winner)
    totals = {winner: sum(counts[name] for name in group) for winner, group in members.items()}
    for slip in slips({winner: _words(winner) for winner in totals}, totals):
        for name in members[slip.name]:
            best[name], reasons[name] = slip.right, slip.reason
    found = [Proposal(name, best[name], counts[name], reasons[name]) for name in best]
    return sorted(found, key=lambda one: (-one.rows, one.label))


def apply(
    column: pa.Array | pa.ChunkedArray, proposals: Sequence[Proposal]
) -> pa.Array | pa.ChunkedArray:
    """Return a column with the suggested spellings, in lists too; other types stay as they are."""
    import pyarrow as pa

    if isinstance(column, pa.ChunkedArray):
        chunks = [apply(chunk, proposals) for chunk in column.chunks]
        return pa.chunked_array(chunks, column.type)
    kind = column.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _in_lists(column, proposals)
    values = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not proposals or not (pa.types.is_string(values) or pa.types.is_large_string(values)):
        return column
    import pyarrow.compute as pc

    plain = column.cast(values)
    known = pa.array([one.label for one in proposals], values)
    new = pa.array([one.suggested for one in proposals], values)
    return pc.coalesce(new.take(pc.index_in(plain, value_set=known)), plain).cast(kind)


def _in_lists(column: Any, proposals: Sequence[Proposal]) -> Any:
    """Return lists of labels with the suggested spellings; a doubled label stays doubled."""
    import pyarrow as pa
    import pyarrow.compute as pc

    large = pa.types.is_large_list(column.type)
    lengths = pc.fill_null(pc.list_value_length(column), 0)
    ends = pc.cumulative_sum(lengths).cast(pa.int64() if large else pa.int32())
    offsets = pa.concat_arrays([pa.array([0], ends.type), ends])
    build = pa.LargeListArray if large else pa.ListArray
    flat = apply(column.flatten(), proposals)
    return build.from_arrays(offsets, flat, type=column.type, mask=column.is_null())


def _key(name: str) -> str:
    """Return what is left of a name without case, blanks, separators and Unicode variants."""
    if not any(character.isalpha() for character in name):
        return _unicode(name).strip()
    return "".join(_words(name))


def _words(name: str) -> list[str]:
    """Return the words of a name in lower case; signs and what separates two numbers stay.

    >>> _words("Top-Up (limits)?"), _words("release_1.2"), _words("A-"), _words("class -1")
    (['top', 'up', 'limits'], ['release', '1.2'], ['a-'], ['class', '-1'])
    """
    plain = _unicode(name).strip().lower()
    short = sum(map(str.isalpha, plain)) <= SIGNED

    def boundary(match: re.Match[str]) -> str:
        run = match[0]
        left, right = plain[: match.start()][-1:], plain[match.end() :][:1]
        if left.isdecimal() and right.isdecimal():
            return run.strip() or " "
        if run[-1] == "-" and right.isdecimal() and (not left or len(run) > 1):
            return "\0-"
        if run == "-" and short and not (left and right):
            return "-"
        return run if run == "." and not left else "\0"

    return [word for word in SEPARATORS.sub(boundary, plain).split("\0") if word]


def _unicode(name: str) -> str:
    """Return a name with composed letters, plain dashes and quotes, and nothing invisible.

    Superscripts and enclosed numbers stay what they are: they are numbers of their own.
    """
    kept = (one if one.isnumeric() and not one.isdecimal() else _compatible(one) for one in name)
    return unicodedata.normalize("NFC", "".join(kept))


def _compatible(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cf" or character == "\ufe0f":
        return ""
    return "-" if category == "Pd" else unicodedata.normalize("NFKC", character)


def _same_words(group: Sequence[str], counts: Mapping[str, int]) -> Iterator[list[str]]:
    """Part names of the same letters that fall into words differently: no_table, not_able."""
    by_words: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name in group:
        by_words[tuple(_words(name))].append(name)
    parts = sorted(
        by_words, key=lambda words: (-sum(counts[one] for one in by_words[words]), words)
    )
    together = [by_words.pop(words) for words in parts if len(words) < 2]
    apart = [by_words[words] for words in parts if words in by_words]
    # One word goes with the most frequent of the others: LostCard is lost_card.
    joined = [name for names in together for name in names]
    yield joined + (apart[0] if apart else [])
    yield from apart[1:]


def _plainness(name: str) -> tuple[int, int, int]:
    """Return how much is odd about a spelling: of two as frequent, the plain one is proposed."""
    return len(name) - len(name.strip()), name != _unicode(name), -sum(map(str.islower, name))


LAYERS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("Unicode form", _unicode),
    ("case", str.lower),
    ("blanks", lambda name: "".join(name.split())),
    ("punctuation", lambda name: re.sub(r"(?! )[\W_]", "", name)),
)


def _reason(name: str, other: str) -> str:
    """Return the fewest kinds of difference that explain two spellings of the same name."""
    for size in range(1, len(LAYERS) + 1):
        for layers in combinations(LAYERS, size):
            left, right = name, other
            for _, layer in layers:
                left, right = layer(left), layer(right)
            if left == right:
                return ", ".join(kind for kind, _ in layers)
    return "blanks, punctuation"
