"""Repeats: rows that are there more than once, and those that leak from one split to another."""

from __future__ import annotations

from typing import Any

from finetune.reports import names
from finetune.reports.data import steps
from finetune.reports.data.dangers import leaked, pairs
from finetune.reports.facts import dig, identities
from finetune.reports.numbers import count, number

_CLUSTERS, _MEMBERS = 12, 12
_WORDS = {"exact": "identical", "near": "nearly identical"}


def repeats(audit: dict[str, Any]) -> dict[str, Any] | None:
    """Return counts, clusters and pairs by ids; None when nothing was looked for."""
    checks, unmade = [], []
    for kind in _WORDS:
        for key, name in (
            ("duplicates", f"{kind.capitalize()} duplicates"),
            ("leakage", f"Pairs in two splits, {_WORDS[kind]}"),
        ):
            found = number(dig(audit, key, kind))
            if found is None:
                # A check that was not made (null) is not a check that found nothing.
                unmade.append(name)
                continue
            checks.append(
                {
                    "name": name,
                    "count": count(found),
                    "note": _note(audit, key, kind, found),
                    "bad": key == "leakage" and found > 0 and not leaked(audit, kind)[1],
                }
            )
    if not checks:
        return None
    return {
        "checks": checks,
        "unmade": unmade,
        "clusters": _clusters(audit),
        "pairs": [
            {"how": _WORDS[kind], "ids": [names.shorten(part) for part in pair]}
            for kind in _WORDS
            for pair in pairs(audit, kind)
        ],
    }


def _clusters(audit: dict[str, Any]) -> list[dict[str, Any]]:
    listed = dig(audit, "duplicates", "clusters")
    found = [identities(each) for each in listed] if isinstance(listed, list) else []
    return [
        {
            "ids": [names.shorten(one) for one in ids[:_MEMBERS]],
            "more": max(0, len(ids) - _MEMBERS),
        }
        for ids in found[:_CLUSTERS]
        if ids
    ]


def _note(audit: dict[str, Any], key: str, kind: str, found: float) -> str:
    if not found:
        return ""
    if key == "duplicates":
        gone = steps.ran(audit, f"{kind}_duplicates")
        return "removed" if gone else "kept"
    if leaked(audit, kind)[1]:
        return "removed; the rows of the scored split stay"
    touched = dig(audit, "leakage", "near_rows" if kind == "near" else "rows")
    parts = [
        f"{count(n)} in {names.shorten(split, 20)}"
        for split, n in (touched.items() if isinstance(touched, dict) else ())
        if number(n)
    ]
    return f"rows concerned: {', '.join(parts)}" if parts else "still there"
