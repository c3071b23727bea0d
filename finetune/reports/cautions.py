"""Cautions: what the test rows cannot show, because they are few, or are worse in one part."""

from __future__ import annotations

from typing import Any

from finetune.reports import names
from finetune.reports.facts import dig, objects
from finetune.reports.numbers import Estimate, count, counted, interval, number

FEW_TEST_ROWS = 100
TOO_FEW_ROWS = 10
"""As many as `finetune.metrics.intervals.FEWEST_ROWS`, which has no say in runs made before it."""


def cautions(metrics: dict[str, Any]) -> list[str]:
    """Return a sentence for each thing that the test rows are too few or too uneven to say."""
    found = []
    rows = number(dig(metrics, "rows", "test"))
    if rows is not None and rows < FEW_TEST_ROWS:
        found.append(
            f"There {'is' if rows == 1 else 'are'} only {counted(rows, 'test row')}; below "
            f"{FEW_TEST_ROWS} even the intervals are rough."
        )
    empty = [
        names.shorten(label, 30)
        for label, scores in objects(metrics.get("per_class")).items()
        if dig(scores, "support") == 0
    ]
    if empty:
        more = f" and {len(empty) - 3} more" if len(empty) > 3 else ""
        quoted = ", ".join(f"“{label}”" for label in empty[:3])
        found.append(f"No test row has the class {quoted}{more}: nothing is known about it.")
    found += _weak_slices(metrics)
    return found


def _weak_slices(metrics: dict[str, Any]) -> list[str]:
    primary = str(metrics.get("primary_metric"))
    greater = metrics.get("greater_is_better") is not False
    overall = Estimate.read(dig(metrics, "test", primary))
    if overall is None:
        return []
    found = []
    for column, values in objects(metrics.get("slices")).items():
        for value, scores in objects(values).items():
            part, rows = Estimate.read(dig(scores, primary)), number(dig(scores, "rows"))
            if part is None or part.low is None or (rows or 0) < TOO_FEW_ROWS:
                continue
            low, high = part.bounds
            if not part.uncertain:
                # Rows that are all alike are not beyond doubt: the rule of three, 3 / n.
                margin = 3 / (rows or 1) * max(1.0, abs(overall.value))
                low, high = low - margin, high + margin
            if high < overall.bounds[0] if greater else low > overall.bounds[1]:
                found.append(
                    f"Rows with {names.shorten(column, 30)} = “{names.shorten(value, 30)}” are "
                    f"served clearly worse than the rest: {names.metric(primary)} {interval(part)} "
                    f"on {count(scores.get('rows'))} rows."
                )
    return found
