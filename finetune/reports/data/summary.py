"""Summary: the first page of a report on data alone: can one train on them, and on how many."""

from __future__ import annotations

from typing import Any

from finetune.reports import names
from finetune.reports.data import cells, steps
from finetune.reports.data.dangers import dangers, leaked, undecided
from finetune.reports.facts import dig, objects, records
from finetune.reports.numbers import count, counted, number, share
from finetune.reports.verdict import Sentence

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def headline(audit: dict[str, Any]) -> Sentence:
    """Say in one sentence how many rows there are and whether they hold dangers."""
    kept = number(dig(audit, "rows", "kept"))
    splits = objects(audit.get("splits"))
    kept = sum(number(n) or 0 for n in splits.values()) if kept is None else kept
    where = f" in {_spelled(len(splits))} split{'' if len(splits) == 1 else 's'}" if splits else ""
    n = len(dangers(audit))
    if n:
        things = f"{_spelled(n)} thing{'' if n == 1 else 's'}"
        return Sentence(f"{counted(kept, 'row')}{where}, and {things} to look at first.", "bad")
    # What was found and left as it is harms no figure, but a green tick would hide it.
    open_ends = sum(each.tone == "neutral" for each in sentences(audit))
    if open_ends:
        also = f"{_spelled(open_ends)} thing{'' if open_ends == 1 else 's'}"
        return Sentence(f"{counted(kept, 'row')}{where}; no danger found, {also} to know.")
    return Sentence(f"{counted(kept, 'row')}{where}; the checks found nothing wrong.", "good")


def sentences(audit: dict[str, Any]) -> list[Sentence]:
    """Say what was done with the rows and what else was found, dangers aside."""
    found = [_rows(audit), *_done(audit), _left(audit), *_repeats(audit), *_labels(audit)]
    found += [_cells(audit), _synthetic(audit), _unmade(audit)]
    return [sentence for sentence in found if sentence is not None]


def tiles(audit: dict[str, Any]) -> list[dict[str, str]]:
    """The figures to see first: rows, classes, repeats, leakage and lengths."""
    rows, splits = objects(audit.get("rows")), objects(audit.get("splits"))
    found: list[dict[str, str]] = []

    def tile(label: str, value: str, note: str, tone: str = "plain") -> None:
        found.append({"label": label, "value": value, "note": note, "tone": tone})

    if number(rows.get("kept")) is not None:
        dropped = number(rows.get("dropped")) or 0
        note = f"of {count(rows.get('read'))} read; " + (
            f"{count(dropped)} dropped" if dropped else "none dropped"
        )
        tile("Rows", count(rows["kept"]), note, "accent")
    if number(splits.get("train")) is not None:
        others = [f"{count(n)} {names.shorten(key, 20)}" for key, n in splits.items()]
        tile("Training rows", count(splits["train"]), ", ".join(others[1:]))
    classes = [number(n) or 0 for n in objects(audit.get("classes")).values()]
    if classes:
        tile("Classes", count(len(classes)), f"{count(min(classes))} to {count(max(classes))} rows")
    repeated = [number(dig(audit, "duplicates", kind)) for kind in ("exact", "near")]
    if any(n is not None for n in repeated):
        exact, near = (count(n) if n is not None else "unknown" for n in repeated)
        total = sum(n or 0 for n in repeated)
        tile("Repeated rows", count(total), f"{exact} exact, {near} near")
    shared = [leaked(audit, kind) for kind in ("exact", "near")]
    if number(dig(audit, "leakage", "exact")) is not None:
        total, parted = sum(n for n, _ in shared), all(done for n, done in shared if n)
        note = f"{count(shared[0][0])} identical, {count(shared[1][0])} nearly"
        note += ", removed" if total and parted else ""
        tone = "bad" if total and not parted else "plain" if total else "good"
        tile("Pairs in two splits", count(total), note, tone)
    tokens = objects(audit.get("tokens"))
    if number(tokens.get("max")):
        cut = number(tokens.get("truncated_rows")) or 0
        kept = number(rows.get("kept")) or 0
        limit = number(tokens.get("limit"))
        note = f"limit {count(limit)}; " if limit else ""
        note += f"{share(cut, kept)} of the rows cut" if cut and kept >= cut else "none cut"
        tile("Longest row in tokens", count(tokens["max"]), note, "bad" if cut else "plain")
    return found


def _spelled(n: int) -> str:
    return _NUMBERS[n] if n < len(_NUMBERS) else str(n)


def _rows(audit: dict[str, Any]) -> Sentence | None:
    rows = objects(audit.get("rows"))
    read, dropped = number(rows.get("read")), number(rows.get("dropped"))
    if read is None or dropped is None:
        return None
    if not dropped:
        return Sentence(f"All {counted(read, 'row')} that were read are kept.", "good")
    return Sentence(
        f"{counted(dropped, 'row')} of {count(read)} ({share(dropped, read)}) "
        f"{'was' if dropped == 1 else 'were'} dropped, each with its reason in quarantine.jsonl."
    )


def _done(audit: dict[str, Any]) -> list[Sentence]:
    done = [
        f"{names.step(str(each.get('name'))).lower()} ({counted(each['changed'], 'row')})"
        for each in records(audit.get("steps"))
        if number(each.get("changed"))
    ]
    return [Sentence(f"Put right: {', '.join(done)}.", "good")] if done else []


def _left(audit: dict[str, Any]) -> Sentence | None:
    left = []
    for each in records(audit.get("steps")):
        name = str(each.get("name"))
        if name != "personal_data" and not steps.acted(audit, name):
            left += [f"{what} ({n})" for what, n in steps.findings(each)]
    return Sentence(f"Found and left as it is: {', '.join(left)}.") if left else None


def _repeats(audit: dict[str, Any]) -> list[Sentence]:
    said = []
    for kind in ("exact", "near"):
        n = number(dig(audit, "duplicates", kind)) or 0
        if n:
            gone = "removed" if steps.ran(audit, f"{kind}_duplicates") else "kept"
            rows = f"{count(n)} {kind} duplicate{'' if n == 1 else 's'}"
            said.append(Sentence(f"{rows}: {gone}.", "good" if gone == "removed" else "neutral"))
    return said


def _labels(audit: dict[str, Any]) -> list[Sentence]:
    said = []
    spellings = len(records(audit.get("label_spellings")))
    if spellings:
        what = "label looks" if spellings == 1 else "labels look"
        said.append(Sentence(f"{count(spellings)} {what} like another spelling of a label."))
    suspects = len(records(audit.get("suspected_label_errors")))
    gone = steps.acted(audit, "label_errors")
    if undecided(audit) and not gone:
        said.append(Sentence("Which labels may be wrong cannot be told from so little data."))
    elif suspects and not gone and not any("may be wrong" in said for said in dangers(audit)):
        said.append(Sentence(f"{counted(suspects, 'label')} may be wrong: a person must look."))
    return said


def _cells(audit: dict[str, Any]) -> Sentence | None:
    n, columns = cells.found(audit)
    if not n:
        return None
    return Sentence(f"{counted(n, 'cell')} in {counted(columns, 'column')} look wrong.")


def _synthetic(audit: dict[str, Any]) -> Sentence | None:
    added = number(dig(audit, "synthetic", "added")) or 0
    if not added:
        return None
    return Sentence(f"{counted(added, 'training row')} written by a model, marked as such.")


def _unmade(audit: dict[str, Any]) -> Sentence | None:
    unmade = [
        name
        for name, value in (
            ("exact duplicates", dig(audit, "duplicates", "exact")),
            ("near duplicates", dig(audit, "duplicates", "near")),
            ("leakage between splits", dig(audit, "leakage", "exact")),
        )
        if number(value) is None
    ]
    return Sentence(f"Not looked for: {', '.join(unmade)}.") if unmade else None
