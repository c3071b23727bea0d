"""Cells: what each column of a table holds and what is wrong with its cells, by ids and counts."""

from __future__ import annotations

from typing import Any

from finetune.reports import glossary, names
from finetune.reports.facts import identities, objects, records
from finetune.reports.numbers import count, number, share

_IDS = 5


def cells(audit: dict[str, Any]) -> dict[str, Any] | None:
    """Return a line for each column and split; None when no column was looked at.

    No cell is shown: even a unit or a constant is somebody's text.
    """
    entries = records(audit.get("cells"))
    if not entries:
        return None
    splits = {str(each.get("split") or "") for each in entries}
    rows = [_row(each) for each in entries]
    return {
        "rows": rows,
        "by_split": splits != {""},
        "clean": sum(not row["findings"] for row in rows),
    }


def found(audit: dict[str, Any]) -> tuple[int, int]:
    """Return how many findings there are in cells, and in how many columns."""
    counts: dict[str, float] = {}
    for each in records(audit.get("cells")):
        total = sum(number(n) or 0 for n in objects(each.get("found")).values())
        column = str(each.get("column"))
        counts[column] = counts.get(column, 0) + total
    return int(sum(counts.values())), sum(1 for n in counts.values() if n)


def _row(entry: dict[str, Any]) -> dict[str, Any]:
    counts = {kind: number(n) or 0 for kind, n in objects(entry.get("found")).items()}
    examples = objects(entry.get("examples"))
    missing, whole = number(entry.get("missing")), number(entry.get("rows")) or 0
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return {
        "column": names.shorten(entry.get("column"), 40),
        "split": names.shorten(entry.get("split") or "", 20),
        "kind": names.words(str(entry.get("kind") or "")),
        "missing": f"{count(missing)} ({share(missing, whole)})"
        if missing and whole >= missing
        else count(missing),
        "distinct": count(entry.get("distinct")),
        "findings": [
            {
                "name": names.finding(kind),
                "count": count(n),
                "ids": [names.shorten(one, 40) for one in identities(examples.get(kind))[:_IDS]],
            }
            for kind, n in ranked
            if n
        ],
        "notes": _notes(entry),
    }


def _notes(entry: dict[str, Any]) -> list[str]:
    said = glossary.kind(str(entry.get("kind") or ""))
    notes = [said] if said else []
    notes += ["has a unit"] if entry.get("unit") else []
    notes += ["always the same"] if entry.get("constant") else []
    if isinstance(entry.get("same_as"), str):
        notes.append(f"same as {names.shorten(entry['same_as'], 40)}")
    follows = identities(entry.get("follows_from"))
    if follows:
        notes.append("follows from " + ", ".join(names.shorten(each, 40) for each in follows))
    return notes
