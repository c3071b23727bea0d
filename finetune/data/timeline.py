"""Rows in the order of time: the past trains, the future tests."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from finetune.data.problems import places, rows
from finetune.errors import DataError

FORMATS = ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d")
"""How dates are written where they aren't written as ISO 8601 has it, with or without a time."""
_TIMES = ("", " %H:%M", " %H:%M:%S")


def instants(values: Sequence[Any], ids: Sequence[str], column: str) -> list[float]:
    """Return dates, times or numbers as numbers that grow with time.

    Args:
        values: What a column holds.
        ids: Id of each row, for errors.
        column: What the column is called.

    Raises:
        DataError: A value is missing or cannot be read, or the dates can be read in two ways.
    """
    missing = [row for row, value in zip(ids, values, strict=True) if _blank(value)]
    if missing:
        raise DataError(
            f"`{column}`, by which rows are split, is missing in {rows(len(missing))}: "
            f"{places(missing)}.",
            fix="Fill it in, or take another column for data.split.time.",
        )
    for read in (_number, _moment):
        found = _all(values, read)
        if found is not None:
            return found
    fitting = {
        form + time: found
        for form in FORMATS
        for time in _TIMES
        if (found := _all(values, lambda value, form=form + time: _formatted(value, form)))
    }
    if len(fitting) == 1:
        return next(iter(fitting.values()))
    if fitting:
        raise DataError(
            f"The dates in `{column}` can be read as {' or '.join(sorted(fitting))}.",
            fix="Write them as 2026-01-31.",
        )
    strange = [
        row
        for row, value in zip(ids, values, strict=True)
        if _number(value) is None and _moment(value) is None
    ]
    raise DataError(
        f"`{column}`, by which rows are split, holds neither dates nor numbers in "
        f"{rows(len(strange))}: {places(strange)}.",
        fix="Write dates as 2026-01-31 or 2026-01-31T12:00, or numbers.",
    )


def cut_by_time(
    times: Sequence[float], shares: Mapping[str, float]
) -> tuple[list[str], dict[str, tuple[float, float]]]:
    """Give the oldest rows to the first split and the newest to the last.

    Rows of the same time stay together, so shares are met as nearly as that allows.

    Args:
        times: Time of each row.
        shares: Share of rows of each split, in the order of time.

    Returns:
        The split of each row, and the first and last time of each split.
    """
    shares = {split: share for split, share in shares.items() if share > 0}
    order = sorted(range(len(times)), key=lambda index: times[index])
    bounds: list[int] = []
    passed = 0.0
    for share in list(shares.values())[:-1]:
        passed += share
        bounds.append(_boundary(order, times, round(passed * len(times))))
    chosen = [""] * len(times)
    spans: dict[str, tuple[float, float]] = {}
    starts = [0, *bounds]
    for split, start, end in zip(shares, starts, [*bounds, len(times)], strict=True):
        for index in order[start:end]:
            chosen[index] = split
        if start < end:
            spans[split] = (times[order[start]], times[order[end - 1]])
    return chosen, spans


def _boundary(order: Sequence[int], times: Sequence[float], wanted: int) -> int:
    """Return the place nearest to the wanted one where the time changes."""
    if not 0 < wanted < len(order):
        return wanted
    before = after = wanted
    while before > 0 and times[order[before - 1]] == times[order[before]]:
        before -= 1
    while after < len(order) and times[order[after - 1]] == times[order[after]]:
        after += 1
    nearer = before if wanted - before <= after - wanted else after
    # All rows on one side would leave the other split without any.
    return nearer if 0 < nearer < len(order) else before or after


def _all(values: Sequence[Any], read: Any) -> list[float] | None:
    found = []
    for value in values:
        number = read(value)
        if number is None:
            return None
        found.append(number)
    return found


def _blank(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _moment(value: Any) -> float | None:
    if isinstance(value, datetime):
        return _seconds(value)
    if isinstance(value, date):
        return _seconds(datetime(value.year, value.month, value.day))
    try:
        return _seconds(datetime.fromisoformat(str(value).strip()))
    except ValueError:
        return None


def _formatted(value: Any, form: str) -> float | None:
    try:
        return _seconds(datetime.strptime(str(value).strip(), form))
    except ValueError:
        return None


def _seconds(moment: datetime) -> float:
    # Times without a zone are compared with each other, so any one zone will do.
    from datetime import UTC

    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
