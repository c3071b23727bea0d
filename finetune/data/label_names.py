"""Labels in several spellings: proposed to the user, or renamed to the most frequent one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from finetune.data.kinds import Labels
from finetune.data.problems import rows as plural
from finetune.data.work import Work

SHOWN = 5


def settle_spellings(work: Work, options: Mapping[str, Any]) -> None:
    """Look for labels that differ in spelling only, and rename them when that is asked for.

    Args:
        work: Its label column is replaced when the action is `repair`.
        options: `data.clean.label_spelling`.
    """
    from finetune.data.label_spelling import apply, proposals

    work.audit["label_spellings"] = []
    name = work.label_name() or next(
        (name for name in work.sources if isinstance(work.kinds[name], Labels)), None
    )
    action = options.get("action", "skip")
    if name is None or action == "skip":
        return
    counts = count_labels(work, name)
    proposed = proposals(counts)
    work.audit["label_spellings"] = [asdict(proposal) for proposal in proposed]
    if not proposed:
        return
    told = ", ".join(
        f"`{one.label}` → `{one.suggested}` ({plural(one.rows)})" for one in proposed[:SHOWN]
    )
    more = f" and {len(proposed) - SHOWN} more" if len(proposed) > SHOWN else ""
    if action == "report":
        work.say(
            f"Labels in several spellings: {told}{more}; rename them with "
            "data.clean.label_spelling.action=repair."
        )
        return
    before = work.count()
    renamed = {one.label: one.suggested for one in proposed}
    for split, table in work.tables.items():
        column = table[name]
        for row, label in zip(table["id"].to_pylist(), column.to_pylist(), strict=True):
            if label in renamed if isinstance(label, str) else set(label or ()) & set(renamed):
                work.problems.quarantine.append(
                    {
                        "id": row,
                        "step": "label_spelling",
                        "column": name,
                        "reason": "is another spelling of a label",
                        "before": label,
                    }
                )
        place = table.column_names.index(name)
        work.tables[split] = table.set_column(place, name, apply(column, proposed))
    changed = sum(one.rows for one in proposed)
    work.say(f"Labels renamed to their most frequent spelling: {told}{more}.")
    work.step("label_spelling", before, changed=changed, found={"spelling": len(proposed)})


def count_labels(work: Work, name: str) -> Counter[str]:
    """Count labels, those of lists one by one."""
    counts: Counter[str] = Counter()
    for table in work.tables.values():
        for value in table[name].to_pylist():
            if isinstance(value, str):
                counts[value] += 1
            else:
                counts.update(value or ())
    return counts
