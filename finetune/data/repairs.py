"""Texts cleaned and cells looked at by the steps of `data.clean`, with an account of each."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from finetune.data import columns as mapping
from finetune.data.kinds import Answers, Kind, Messages, Text, Turns
from finetune.data.problems import rows as plural
from finetune.data.sources import Source
from finetune.data.work import Work

if TYPE_CHECKING:
    from finetune.data.cleaning.base import Step

ROWS_FOR_WORKERS = 50_000
"""From so many rows on, starting further processes costs less than they save."""
COLUMNS_TOLD = 8
SENTENCES = {
    "html": "remnants of HTML",
    "encoding": "text decoded with the wrong encoding",
    "control": "control characters or other invisible remnants",
    "unicode": "characters that are not in the normal form",
    "whitespace": "runs of blanks or blanks at the ends",
    "markers": "a mark for a missing value",
    "length": "a text that is too short or too long",
    "language": "a text in another language",
    "personal_data": "personal data",
}
"""What the rows hold that a step finds."""


def repair(work: Work, steps: Mapping[str, Mapping[str, Any]]) -> None:
    """Run the text steps over every text that is read or produced.

    Args:
        work: Its tables are replaced by the cleaned ones.
        steps: `data.clean`.
    """
    from finetune.data.cleaning.base import build
    from finetune.data.cleaning.pipeline import clean

    active = [step for step in build(steps) if step.action != "skip"]
    texts = [name for name in work.sources if isinstance(work.kinds[name], Text | Messages | Turns)]
    work.audit["personal_data"], work.audit["encoding_repairs"] = {}, 0
    if not texts or not active:
        return
    withheld = [step for step in active if step.name == "personal_data" and step.action != "report"]

    def keep(line: dict[str, Any]) -> None:
        work.problems.quarantine.append(line | {"before": _masked(line["before"], withheld)})

    total: dict[str, dict[str, Any]] = {}
    for again, (names, chosen) in enumerate(_by_freedom(work, texts, active)):
        for split, table in work.tables.items():
            cleaned = clean(
                table,
                names,
                chosen,
                workers=min(os.cpu_count() or 1, 4),
                record=keep,
                parallel_rows=ROWS_FOR_WORKERS,
            )
            work.tables[split] = cleaned.table
            for report in cleaned.reports:
                _add(total.setdefault(report["name"], {"name": report["name"]}), report, again)
    for step in active:
        report = total[step.name]
        work.steps.append(report)
        _say(work, report, step.action)
    found = {name: report["found"] for name, report in total.items()}
    work.audit["personal_data"] = found.get("personal_data", {})
    work.audit["encoding_repairs"] = found.get("encoding", {}).get("mojibake", 0)


def _by_freedom(
    work: Work, texts: Sequence[str], active: Sequence[Step]
) -> list[tuple[list[str], list[Step]]]:
    """Return which columns pass which steps: a text that answers point into may not change.

    Answers say at which character they begin; one character less before them, and they are wrong.
    """
    pinned = [
        name
        for name in texts
        if name == "context" and any(isinstance(work.kinds[c], Answers) for c in work.sources)
    ]
    looked = [
        replace(step, action="report") if step.action == "repair" else step for step in active
    ]
    parts = [([name for name in texts if name not in pinned], list(active)), (pinned, looked)]
    return [(names, chosen) for names, chosen in parts if names]


def _masked(before: Any, steps: Sequence[Step]) -> Any:
    """Return what a cell or row held without the personal data that are masked in the data.

    What is masked is not to lie about in another file, whichever step wrote the line.
    """
    from finetune.data.cleaning.pipeline import repaired

    masking = [replace(step, action="repair") for step in steps]
    if isinstance(before, str):
        return repaired(before, masking) if masking else before
    if isinstance(before, Mapping):
        return {key: _masked(value, steps) for key, value in before.items()}
    return [_masked(value, steps) for value in before] if isinstance(before, list) else before


def _add(total: dict[str, Any], report: Mapping[str, Any], again: int) -> None:
    """Add what a step did to one split; `again` when rows pass it by other columns once more."""
    lost = report["rows_in"] - report["rows_out"]
    total["rows_in"] = total.get("rows_in", 0) + (0 if again else report["rows_in"])
    total["rows_out"] = total.get("rows_out", 0) + (-lost if again else report["rows_out"])
    total["changed"] = total.get("changed", 0) + report["changed"]
    found = total.setdefault("found", {})
    for kind, count in report["found"].items():
        found[kind] = found.get(kind, 0) + count


def _say(work: Work, report: Mapping[str, Any], action: str) -> None:
    count = sum(report["found"].values())
    if not count:
        return
    what = SENTENCES[report["name"]]
    kinds = ", ".join(
        f"{number:,} {kind.replace('_', ' ')}" for kind, number in report["found"].items()
    )
    title = report["name"].replace("_", " ").capitalize()
    dropped = report["rows_in"] - report["rows_out"]
    where = f"({kinds}; data/quarantine.jsonl)"
    if dropped:
        work.say(f"{title}: {plural(dropped)} with {what} dropped {where}.")
    if report["changed"]:
        work.say(f"{title}: {plural(report['changed'])} with {what} put right {where}.")
    elif not dropped and action == "report":
        work.say(f"{title}: {what} found ({kinds}); see data.clean.{report['name']}.action.")


def check_cells(
    found: Mapping[str, Source],
    kinds: Mapping[str, Kind],
    said: Mapping[str, str],
    keep: Sequence[str],
) -> list[dict[str, Any]]:
    """Look at the cells of every column in use, those that templates are filled with among them.

    Args:
        found: The sources by split.
        kinds: The task's canonical columns.
        said: Canonical column → source.
        keep: Further columns.

    Returns:
        An entry for each column of each split: split, column, and what `cells.check` says of it.
    """
    from finetune.data.cells import check

    entries = []
    for split, source in found.items():
        resolved = mapping.resolve(
            source.table.schema, kinds, columns=said, keep=keep, name=source.name
        )
        named = [part for origin in resolved.sources.values() for part in mapping.names_in(origin)]
        used = [
            name for name in dict.fromkeys([*named, *keep]) if name in source.table.column_names
        ]
        checked = check(source.table, used, ids=source.ids)
        entries += [
            {"split": split, "column": column, **facts} for column, facts in checked.columns.items()
        ]
    return entries


def say_cells(work: Work, entries: Sequence[Mapping[str, Any]]) -> None:
    """Tell in one sentence which columns hold cells that don't fit them, the worst first."""
    totals: dict[str, dict[str, int]] = {}
    for entry in entries:
        for kind, count in entry["found"].items():
            of_column = totals.setdefault(entry["column"], {})
            of_column[kind] = of_column.get(kind, 0) + count
    ranked = sorted(totals.items(), key=lambda item: -sum(item[1].values()))
    if not ranked:
        return
    told = "; ".join(
        f"`{column}` ("
        + ", ".join(f"{count:,} {kind.replace('_', ' ')}" for kind, count in kinds.items())
        + ")"
        for column, kinds in ranked[:COLUMNS_TOLD]
    )
    more = f" and {len(ranked) - COLUMNS_TOLD} more columns" if len(ranked) > COLUMNS_TOLD else ""
    work.say(f"Cells that do not fit their column: {told}{more}; see the report.")
