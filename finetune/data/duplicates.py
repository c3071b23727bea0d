"""Rows that are the same or nearly so: found, counted, dropped, shown where they leak."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from finetune.data import audit
from finetune.data.kinds import Audio, Image, Messages, Text, Tokens, Turns
from finetune.data.near.leaks import leaks
from finetune.data.problems import places
from finetune.data.problems import rows as plural
from finetune.data.spool import filtered
from finetune.data.work import PLACE, Work
from finetune.errors import DataError

if TYPE_CHECKING:
    from finetune.data.near.clusters import Near

KEEP_FIRST = ("test", "validation", "train", "")
"""Which split keeps a row that several have: the one whose score it would spoil."""
CLUSTERS_SHOWN = 20
MEMBERS_SHOWN = 5


def find_near(work: Work, *, threshold: float) -> None:
    """Find rows whose inputs are nearly the same, and number all rows for it."""
    import numpy as np
    import pyarrow as pa

    start = 0
    for split, table in work.tables.items():
        numbers = pa.array(np.arange(start, start + table.num_rows))
        work.tables[split] = table.append_column(PLACE, numbers)
        start += table.num_rows
    work.near = _near(work, threshold)


def _near(work: Work, threshold: float) -> Near | None:
    asked = work.inputs()
    tables = list(work.tables.values())
    for kind, find in ((Image, "pictures"), (Audio, "sound")):
        for name in asked:
            if isinstance(work.kinds[name], kind):
                return _near_media(find, [table[name] for table in tables])
    readable = {name: kind for name, kind in work.kinds.items() if name in work.sources}
    spoken = Text | Messages | Turns | Tokens
    texts = [name for name, kind in readable.items() if isinstance(kind, spoken)]
    words = [name for name in texts if isinstance(readable[name], Tokens)]
    tables = [_spelt(table, words) for table in tables]
    inputs = [name for name in texts if name in asked]
    if not inputs:
        return None
    from finetune.data.near.text import find_near as near_texts

    # Each text of a row must be alike for itself, or two questions on one long context would be
    # duplicates. The columns of a table, of which any may be empty, are compared as one text.
    apart = [name for name in inputs if readable[name].required]
    compared = apart[:1] or inputs
    others = [name for name in texts if name not in compared and readable[name].required]
    return near_texts(tables, compared, targets=others, threshold=threshold)


def _spelt(table: Any, words: Sequence[str]) -> Any:
    """Return a table with lists of words as the texts they are."""
    import pyarrow.compute as pc

    for name in words:
        place = table.column_names.index(name)
        table = table.set_column(place, name, pc.binary_join(table[name], " "))
    return table


def _near_media(what: str, columns: Sequence[Any]) -> Near:
    """Search with the search's own threshold: that of texts means nothing here."""
    if what == "pictures":
        from finetune.data.near.pictures import find_near_pictures

        return find_near_pictures(columns)
    from finetune.data.near.sound import find_near_sound

    return find_near_sound(columns)


def exact_reasons(
    row_digests: Mapping[str, Sequence[bytes]], questions: Mapping[str, Sequence[bytes]]
) -> dict[str, list[str]]:
    """Find rows that are there more than once.

    A row is dropped when an earlier one of its split is the same in every canonical column, or when
    a split that is scored later asks the same question.

    Args:
        row_digests: By split, a hash of all canonical columns of each row.
        questions: By split, a hash of the inputs of each row.

    Returns:
        By split, the reason to drop each row, or an empty string to keep it.
    """
    reasons: dict[str, list[str]] = {}
    asked: dict[bytes, str] = {}
    for split in sorted(row_digests, key=KEEP_FIRST.index):
        seen: set[bytes] = set()
        reasons[split] = []
        for row, question in zip(row_digests[split], questions[split], strict=True):
            if row in seen:
                reasons[split].append("is an exact duplicate within its split")
            elif question in asked:
                reasons[split].append(f"asks the same as a row of {asked[question]}")
            else:
                reasons[split].append("")
            seen.add(row)
        for question in questions[split]:
            asked.setdefault(question, split)
    return reasons


def near_reasons(work: Work, near: Near) -> dict[str, list[str]]:
    """Find rows that are nearly the same as one that is kept.

    Of a cluster within one split its representative stays, to which all others were compared;
    of one in several splits a row of the split that is scored. Exact repetitions of a row that is
    kept are left to `exact_reasons`.
    """
    heads = near.content[near.representatives].tolist()
    reasons: dict[str, list[str]] = {}
    keeper: dict[int, tuple[str, int]] = {}
    for split in sorted(work.tables, key=KEEP_FIRST.index):
        numbers = work.places()[split]
        rows = list(
            zip(near.clusters[numbers].tolist(), near.content[numbers].tolist(), strict=True)
        )
        first: dict[int, int] = {}
        for cluster, content in rows:
            if cluster >= 0 and cluster not in keeper:
                first.setdefault(cluster, content)
                if content == heads[cluster]:
                    first[cluster] = content
        keeper |= {cluster: (split, content) for cluster, content in first.items()}
        reasons[split] = []
        for cluster, content in rows:
            where, kept = keeper.get(cluster, (split, content))
            of = "another row" if where == split else f"a row of {where}"
            reasons[split].append("" if kept == content else f"is nearly the same as {of}")
    return reasons


def near_count(near: Near) -> int:
    """Count the distinct inputs that are nearly the same as another that would be kept."""
    import numpy as np

    inside = near.clusters >= 0
    pairs = np.stack([near.clusters[inside], near.content[inside].astype(np.int64)], 1)
    return len(np.unique(pairs, axis=0)) - len(np.unique(near.clusters[inside]))


def largest(work: Work, near: Near) -> list[list[str]]:
    """Return the ids of the largest clusters of near-duplicates, a few of each."""
    sizes = Counter(near.clusters[near.clusters >= 0].tolist())
    ranked = sorted(sizes, key=lambda cluster: (-sizes[cluster], cluster))
    shown: dict[int, list[str]] = {cluster: [] for cluster in ranked[:CLUSTERS_SHOWN]}
    for split, rows in work.ids().items():
        for row, cluster in zip(rows, near.clusters[work.places()[split]].tolist(), strict=True):
            if cluster in shown and len(shown[cluster]) < MEMBERS_SHOWN:
                shown[cluster].append(row)
    return list(shown.values())


def drop(work: Work, reasons: Mapping[str, Sequence[str]], step: str, called: str) -> None:
    """Drop the rows that have a reason, and say how many."""
    import numpy as np

    before = work.count()
    for split, given in reasons.items():
        stays = np.array([not reason for reason in given], bool)
        for index in np.flatnonzero(~stays).tolist():
            row = work.tables[split].slice(index, 1).select(["id", *work.sources]).to_pylist()[0]
            work.problems.set_aside(row, step=step, reason=given[index])
        work.tables[split] = filtered(work.tables[split], stays)
    if work.count() < before:
        work.say(f"{plural(before - work.count())} were dropped as {called}.")
    work.step(step, before)


def leakage(work: Work) -> dict[str, Any]:
    """Return the pairs of rows in different splits that ask the same, or nearly.

    Returns:
        ``exact`` and ``near`` (pairs), ``pairs`` and ``near_pairs`` (the first ids), ``rows`` and
        ``near_rows`` (by split, how many rows are concerned).
    """
    import numpy as np

    ids = work.ids()
    found = audit.leakage(work.questions(), ids)
    if work.near is None:
        return found
    splits = np.full(len(work.near.clusters), "", "U10")
    names: dict[int, str] = {}
    for split, numbers in work.places().items():
        splits[numbers] = split
    near = leaks(work.near, splits)
    wanted = {number for pair in near.examples for number in pair}
    for split, numbers in work.places().items():
        here = np.flatnonzero(np.isin(numbers, list(wanted)))
        names |= {int(numbers[index]): ids[split][index] for index in here}
    pairs = [[names[one], names[other]] for one, other in near.examples]
    return {**found, "near": near.pairs, "near_pairs": pairs, "near_rows": near.touched}


def judge_leakage(work: Work, found: Mapping[str, Any], policy: Literal["warn", "error"]) -> None:
    """Warn of leakage, or refuse the data for it.

    Raises:
        DataError: There is some, and the policy is to refuse it.
    """
    sentences = []
    for kind, pairs, step in (
        ("exact", "pairs", "exact_duplicates"),
        ("near", "near_pairs", "near_duplicates"),
    ):
        if found.get(kind):
            nearly = "nearly " if kind == "near" else ""
            prefix = f"{kind}_" if kind == "near" else ""
            touched = ", ".join(
                f"{plural(count)} of {split}" for split, count in found[f"{prefix}rows"].items()
            )
            shown = places(f"{pair[0]} = {pair[1]}" for pair in found[pairs])
            sentences.append(
                f"The inputs of {touched} are also {nearly}in another split: {shown}. "
                f"Remove them from train with data.clean.{step}.action=drop."
            )
    if sentences and policy == "error":
        raise DataError(sentences, fix="Or accept them with data.leakage=warn.")
    for sentence in sentences:
        work.say(sentence)
