"""Labels: how many rows each class has, which labels disagree, and which may be wrong."""

from __future__ import annotations

from typing import Any

from finetune.reports import names
from finetune.reports.data import steps
from finetune.reports.data.dangers import undecided
from finetune.reports.facts import dig, objects, records
from finetune.reports.numbers import count, counted, number, share

_SUSPECTS, _SPELLINGS = 50, 40


def balance(audit: dict[str, Any]) -> dict[str, Any] | None:
    """Return each class with its rows in all splits, the largest first."""
    totals = {label: number(n) or 0 for label, n in objects(audit.get("classes")).items()}
    if not totals:
        return None
    by_split = objects(audit.get("class_splits"))
    largest, smallest, whole = max(totals.values()), min(totals.values()), sum(totals.values())
    rows = [
        {
            "label": names.shorten(label),
            "count": count(n),
            "share": share(n, whole),
            "width": round(100 * n / largest, 1) if largest else 0,
            "splits": [count(dig(by_split, split, label) or 0) for split in by_split],
        }
        for label, n in sorted(totals.items(), key=lambda item: (-item[1], item[0]))
    ]
    said = f"{len(rows)} class{'' if len(rows) == 1 else 'es'}, the largest first"
    if len(rows) > 1 and smallest:
        ratio = largest / smallest
        said += (
            "; all have equally many rows"
            if ratio == 1
            else f"; the largest has {ratio:.3g} times the rows of the smallest"
        )
    return {"rows": rows, "splits": list(by_split), "said": f"{said}."}


def doubts(audit: dict[str, Any]) -> dict[str, Any] | None:
    """Return conflicts, spellings and suspected errors; None when labels were not looked at."""
    spellings = records(audit.get("label_spellings"))
    unsure, gone = undecided(audit), steps.acted(audit, "label_errors")
    suspects = records(audit.get("suspected_label_errors")) if gone or not unsure else []
    conflicts = number(audit.get("label_conflicts"))
    # An empty list alone is no acquittal: it also stands where nothing could be judged.
    search = objects(audit.get("label_error_search"))
    looked = bool(suspects or unsure or number(search.get("examined")))
    labelled = bool(objects(audit.get("classes"))) or bool(conflicts)
    if not (spellings or suspects or labelled or looked):
        return None
    return {
        "conflicts": _conflicts(conflicts),
        "looked": looked,
        "removed": gone,
        "undecided": _undecided(unsure, number(search.get("examined"))) if not suspects else "",
        "searched": _searched(search),
        "spellings": [
            {
                "label": names.quoted(each.get("label")),
                "suggested": names.quoted(each.get("suggested")),
                "rows": count(each.get("rows")),
                "reason": names.shorten(names.words(str(each.get("reason") or "")), 40),
            }
            for each in spellings[:_SPELLINGS]
        ],
        "more_spellings": max(0, len(spellings) - _SPELLINGS),
        "suspects": [
            {
                "id": names.shorten(each.get("id")),
                "given": names.shorten(each.get("given"), 40),
                "suggested": names.shorten(each.get("suggested"), 40),
                "score": "–" if (score := number(each.get("score"))) is None else f"{score:.3f}",
            }
            for each in suspects[:_SUSPECTS]
        ],
        "more_suspects": max(0, len(suspects) - _SUSPECTS),
        "suspected": count(len(suspects)),
    }


def _conflicts(n: float | None) -> str:
    if n is None:
        return ""
    if not n:
        return "No two rows have the same input and different labels."
    has = "has" if n == 1 else "have"
    return f"{counted(n, 'row')} {has} the same input as another row and a different label."


def _undecided(unsure: float, judged: float | None) -> str:
    if not unsure:
        return ""
    of = f"{count(unsure)} of {counted(judged, 'label')}" if judged else counted(unsure, "label")
    return (
        f"A cheap model, learned from the other rows, reads {of} otherwise. So many are rather its "
        "own mistakes: there is too little data to tell which labels are wrong, and none is listed."
    )


def _searched(search: dict[str, Any]) -> str:
    """Say how many rows were judged, unless that is all of them."""
    judged, rows = number(search.get("examined")), number(search.get("rows"))
    if judged is None or rows is None or judged >= rows:
        return ""
    why = "they are a sample" if search.get("sampled") else "the others have too little to judge by"
    return f"{count(judged)} of {counted(rows, 'labelled row')} were judged; {why}."
