"""Texts cleaned and cells looked at by the steps of `data.clean`, with an account of each."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from finetune.data import columns as mapping
from finetune.data.kinds import Kind, Messages, Text
from finetune.data.problems import rows as plural
from finetune.data.sources import Source
from finetune.data.work import Work

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

    names = [
        name for name in work.sources if isinstance(work.kinds[name], Text | Messages)
    ]  # fmt: skip
    active = [step for step in build(steps) if step.action != "skip"]
    work.audit["personal_data"], work.audit["encoding_repairs"] = {}, 0
    if not names or not active:
        return
    workers = min(os.cpu_count() or 1, 4) if work.count() >= ROWS_FOR_WORKERS else 1

    def keep(line: dict[str, Any]) -> None:
        # What is masked is not to lie about in another file.
        withheld = line["step"] == "personal_data" and line["column"] is not None
        work.problems.quarantine.append(line | {"before": None} if withheld else line)

    total: dict[str, dict[str, Any]] = {}
    for split, table in work.tables.items():
        cleaned = clean(table, names, active, workers=workers, record=keep)
        work.tables[split] = cleaned.table
        for report in cleaned.reports:
            _add(total.setdefault(report["name"], {"name": report["name"]}), report)
    for step in active:
        report = total[step.name]
        work.steps.append(report)
        _say(work, report, step.action)
    found = {name: report["found"] for name, report in total.items()}
    work.audit["personal_data"] = found.get("personal_data", {})
    work.audit["encoding_repairs"] = sum(found.get("encoding", {}).values())


def _add(total: dict[str, Any], report: Mapping[str, Any]) -> None:
    for key in ("rows_in", "rows_out", "changed"):
        total[key] = total.get(key, 0) + report[key]
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
