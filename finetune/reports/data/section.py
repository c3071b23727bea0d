"""The data section: its parts, each of which a malformed file can cost without the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from finetune.reports import names
from finetune.reports.data import cells, labels, lengths, media, repeats, steps
from finetune.reports.facts import Facts, dig, objects
from finetune.reports.numbers import count, number

Part = Callable[[str, Callable[[], Any]], Any]
"""Makes one part of the report, or notes under its title that it cannot be shown."""


def section(facts: Facts, part: Part) -> dict[str, Any] | None:
    """Return everything the template shows of the data; None when there is no audit."""
    audit = facts.audit
    if not audit:
        return None

    def checked(make: Callable[[dict[str, Any]], Any], keys: dict[str, type]) -> Any:
        for key, kind in keys.items():
            if audit.get(key) is not None and not isinstance(audit[key], kind):
                raise TypeError(f"`{key}` is no {kind.__name__}")
        return make(audit)

    shown = {
        name: part(title, lambda make=make, keys=keys: checked(make, keys))  # type: ignore[misc]
        for name, (title, make, keys) in _PARTS.items()
    }
    return shown | {"unpadded": dig(facts.manifest, "stages", "train", "padding_free") is True}


def personal(audit: dict[str, Any]) -> dict[str, Any] | None:
    """Return the personal data found by kind, and whether they were masked."""
    kinds = {key: number(n) or 0 for key, n in objects(audit.get("personal_data")).items()}
    known = [(names.finding(key), count(n)) for key, n in kinds.items() if n]
    if not known:
        return None
    return {"kinds": known, "acted": steps.acted(audit, "personal_data")}


def columns(audit: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the canonical columns that were taken from columns of another name."""
    return [
        (names.shorten(key, 40), names.shorten(value))
        for key, value in objects(audit.get("columns")).items()
        if key != value
    ]


def messages(audit: dict[str, Any]) -> list[str]:
    """Return what `prepare` said while it worked."""
    listed = audit.get("messages")
    return [str(each) for each in listed] if isinstance(listed, list) else []


_PARTS: dict[str, tuple[str, Callable[[dict[str, Any]], Any], dict[str, type]]] = {
    "rows": ("The rows", steps.rows, {"rows": dict}),
    "flow": ("The steps", steps.flow, {"steps": list}),
    "splits": ("The splits", steps.splits, {"splits": dict}),
    "synthetic": ("The synthetic rows", steps.synthetic, {"synthetic": dict}),
    "lengths": ("The lengths", lengths.lengths, {"tokens": dict}),
    "balance": ("The class balance", labels.balance, {"classes": dict, "class_splits": dict}),
    "repeats": ("The repeated rows", repeats.repeats, {"duplicates": dict, "leakage": dict}),
    "doubts": (
        "The doubtful labels",
        labels.doubts,
        {"label_spellings": list, "suspected_label_errors": list, "label_error_search": dict},
    ),
    "personal": ("The personal data", personal, {"personal_data": dict}),
    "cells": ("The cells", cells.cells, {"cells": list}),
    "pictures": ("The pictures", media.pictures, {"pictures": dict}),
    "recordings": ("The recordings", media.recordings, {"recordings": dict}),
    "columns": ("The columns", columns, {"columns": dict}),
    "messages": ("The messages", messages, {"messages": list}),
}
"""What each part is called, who makes it, and the shape of what it reads."""
