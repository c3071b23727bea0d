"""Steps: how the rows flowed from reading to training, what each step found and what was done."""

from __future__ import annotations

from typing import Any

from finetune.reports import names
from finetune.reports.facts import dig, objects, records
from finetune.reports.numbers import count, counted, number, share

_ALWAYS_SHOWN = {"read", "split"}
_WHY = {
    "values": "a needed value missing or unusable",
    "lengths": "too long, or nothing left to learn from",
    "length": "too short or too long",
    "exact_duplicates": "the same as an earlier row",
    "near_duplicates": "nearly the same as an earlier row",
}
"""Why rows are removed by steps that count no findings."""


def flow(audit: dict[str, Any]) -> dict[str, Any] | None:
    """Return the steps that did or found something, and the names of those that did not."""
    known = records(audit.get("steps"))
    if not known:
        return None
    most = max((number(each.get("rows_in")) or 0 for each in known), default=0)
    rows, quiet = [], []
    for each in known:
        name = names.step(str(each.get("name")))
        before, after = number(each.get("rows_in")), number(each.get("rows_out"))
        changed = number(each.get("changed")) or 0
        removed = before - after if before is not None and after is not None else 0
        found = findings(each)
        if not (found or changed or removed) and each.get("name") not in _ALWAYS_SHOWN:
            quiet.append(name)
            continue
        rows.append(
            {
                "name": name,
                "found": found,
                "done": _done(removed, changed, found),
                "rows": count(after),
                "width": round(100 * after / most, 1) if most and after else 0,
                "gone": round(100 * removed / most, 1) if most and removed > 0 else 0,
                "why": _WHY.get(str(each.get("name")), "see data/quarantine.jsonl"),
                "tone": "removed" if removed > 0 else "changed" if changed else "",
            }
        )
    return {"rows": rows, "quiet": quiet}


def findings(step: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what a step found: name and count, the commonest first."""
    found = {key: number(n) or 0 for key, n in objects(step.get("found")).items()}
    ranked = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return [(names.finding(key), count(n)) for key, n in ranked if n]


def splits(audit: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the splits with rows, share and a bar for each."""
    known = {name: number(n) or 0 for name, n in objects(audit.get("splits")).items()}
    whole = sum(known.values())
    return [
        {
            "name": name,
            "rows": count(n),
            "share": share(n, whole),
            "width": round(100 * n / whole, 1) if whole else 0,
        }
        for name, n in known.items()
    ]


def rows(audit: dict[str, Any]) -> list[tuple[str, str]]:
    """Return rows read, kept and dropped."""
    known = {key: number(n) for key, n in objects(audit.get("rows")).items()}
    shown = {key for key, n in known.items() if n or key in ("read", "kept", "dropped")}
    return [
        (names.words(key), count(n)) for key, n in known.items() if n is not None and key in shown
    ]


def ran(audit: dict[str, Any], name: str) -> bool:
    """Say whether a step of this name ran."""
    return any(each.get("name") == name for each in records(audit.get("steps")))


def acted(audit: dict[str, Any], name: str) -> bool:
    """Say whether a step of this name changed or removed rows."""
    for each in records(audit.get("steps")):
        before, after = number(each.get("rows_in")), number(each.get("rows_out"))
        removed = before is not None and after is not None and after < before
        if each.get("name") == name and (removed or number(each.get("changed"))):
            return True
    return False


def synthetic(audit: dict[str, Any]) -> list[tuple[str, str]]:
    """Return how many rows a model wrote, and why others of its rows were left out."""
    known = objects(audit.get("synthetic"))
    found = [
        ("Rows asked for", known.get("asked")),
        ("Rows that the model proposed", known.get("proposed")),
        ("Added to the training rows, marked", known.get("added")),
        *(
            (f"Left out: {names.finding(reason)}", n)
            for reason, n in objects(dig(known, "dropped")).items()
        ),
        *(
            (f"Added with the label “{names.shorten(label, 40)}”", n)
            for label, n in objects(dig(known, "by_label")).items()
        ),
    ]
    return [(name, count(n)) for name, n in found if number(n) is not None]


def _done(removed: float, changed: float, found: list[tuple[str, str]]) -> str:
    parts = [f"{counted(removed, 'row')} removed"] if removed > 0 else []
    parts += [f"{counted(-removed, 'row')} added"] if removed < 0 else []
    parts += [f"{counted(changed, 'row')} changed"] if changed else []
    return ", ".join(parts) or ("left as found" if found else "")
