"""Plots as geometry: pure functions from numbers to coordinates; the templates draw them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from finetune.reports.numbers import Estimate, number

_MOST_POINTS = 240


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: where it stands and what is written there."""

    at: float
    text: str


@dataclass(frozen=True)
class Axis:
    """A stretch of numbers and its round ticks, placed in per cent of the length."""

    low: float
    high: float
    ticks: list[Tick]
    logarithmic: ClassVar[bool] = False

    def place(self, value: float) -> float:
        """Return where a value stands, in per cent of the length."""
        return round(100 * (value - self.low) / (self.high - self.low), 2)


def axis(values: Iterable[float], *, count: int = 4, whole: bool = False) -> Axis:
    """Lay an axis round the values, with about ``count`` round ticks.

    Args:
        values: What must find a place.
        count: How many stretches between ticks to aim at.
        whole: Whether the values are counts, so that half of one is no tick.
    """
    known = list(values) or [0.0, 1.0]
    low, high = min(known), max(known)
    if low == high == 0:
        high = 1.0  # nothing scored: most measures have no values below zero to leave room for
    elif high - low < 1e-12 * max(1.0, abs(high)):
        pad = abs(high) * 0.1
        low, high = low - pad, high + pad
    step = _round_step((high - low) / count)
    if whole:
        step = max(1.0, step if step == int(step) else _round_step(step * 1.01))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    write = _whole_texts if whole else _tick_texts
    texts = write([index * step for index in range(first, last + 1)], step)
    ticks = [Tick(round(100 * place / (last - first), 2), text) for place, text in enumerate(texts)]
    return Axis(first * step, last * step, ticks)


@dataclass(frozen=True)
class LogAxis(Axis):
    """A stretch of positive numbers on which each tick is ten times the one before."""

    logarithmic: ClassVar[bool] = True

    def place(self, value: float) -> float:
        """Return where a value stands, in per cent of the length; below `low` is at its end."""
        share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        return round(100 * share, 2)


def log_axis(values: Iterable[float]) -> LogAxis:
    """Lay a logarithmic axis from 1 or a higher power of ten round the values."""
    known = [max(value, 1.0) for value in values]
    first = math.floor(math.log10(min(known)) + 1e-9)
    last = max(first + 1, math.ceil(math.log10(max(known)) - 1e-9))
    powers = range(first, last + 1)
    ticks = [Tick(round(100 * (n - first) / (last - first), 2), f"{10**n:,}") for n in powers]
    return LogAxis(10.0**first, 10.0**last, ticks)


@dataclass(frozen=True)
class Bar:
    """A dot with its interval, in per cent of the axis."""

    value: float
    low: float
    high: float


def bars(estimates: Sequence[Estimate]) -> tuple[Axis, list[Bar]]:
    """Place estimates on one common axis."""
    scale = axis(bound for each in estimates for bound in (*each.bounds, each.value))
    return scale, [
        Bar(scale.place(each.value), scale.place(each.bounds[0]), scale.place(each.bounds[1]))
        for each in estimates
    ]


@dataclass(frozen=True)
class Curve:
    """One line plot: polylines in a box that the template scales."""

    title: str
    summary: str
    x: Axis
    y: Axis
    lines: list[tuple[str, str, list[tuple[float, float]]]]  # name, css class, points in per cent
    mark: float | None = None
    averaged: int = 1


def curve(
    title: str, series: dict[str, list[tuple[float, float]]], *, mark: float | None = None
) -> Curve | None:
    """Draw named series of (step, value); None when there are not two points to compare."""
    known = {name: points for name, points in series.items() if points}
    if max((len(points) for points in known.values()), default=0) < 2:
        return None
    width = max(math.ceil(len(points) / _MOST_POINTS) for points in known.values())
    thin = {name: _average(points, width) for name, points in known.items()}
    every = [point for points in thin.values() for point in points]
    x, y = axis([step for step, _ in every], count=4), axis([value for _, value in every])
    lines = [
        (name, f"line-{place}", [(x.place(a), round(100 - y.place(b), 2)) for a, b in points])
        for place, (name, points) in enumerate(thin.items())
    ]
    parts = [f"{name} from {p[0][1]:.4g} to {p[-1][1]:.4g}" for name, p in known.items()]
    steps = max(points[-1][0] for points in known.values())
    within = mark is not None and x.low <= mark <= x.high
    return Curve(
        title=title,
        summary=f"{title}: {'; '.join(parts)} over {steps:,.0f} steps",
        x=x,
        y=y,
        lines=lines,
        mark=x.place(mark) if mark is not None and within else None,
        averaged=width,
    )


def points(log: list[dict[str, Any]], key: str) -> list[tuple[float, float]]:
    """Return (step, value) for one key of the log, by step; a step logged twice counts once."""
    found: dict[float, float] = {}
    for line in log:
        step, value = number(line.get("step")), number(line.get(key))
        if step is not None and value is not None:
            found[step] = value
    return sorted(found.items())


@dataclass(frozen=True)
class Cell:
    """One field of a confusion matrix: how many, and which share of its row."""

    count: int
    share: float
    right: bool


def heatmap(matrix: Sequence[Sequence[int]]) -> list[list[Cell]]:
    """Turn counts (rows are the reference) into cells with the share of their row."""
    cells = []
    for row, counts in enumerate(matrix):
        total = sum(counts)
        cells.append(
            [
                Cell(n, round(n / total, 3) if total else 0.0, row == column)
                for column, n in enumerate(counts)
            ]
        )
    return cells


def worst_pairs(
    labels: Sequence[str], matrix: Sequence[Sequence[int]], *, count: int = 20
) -> list[tuple[str, str, int, int]]:
    """Return the commonest mistakes: reference, prediction, how often, rows of the reference."""
    found = [
        (labels[row], labels[column], n, sum(counts))
        for row, counts in enumerate(matrix)
        for column, n in enumerate(counts)
        if row != column and n > 0
    ]
    return sorted(found, key=lambda pair: (-pair[2], pair[2] / pair[3] * -1, pair[0], pair[1]))[
        :count
    ]


def _average(points: list[tuple[float, float]], width: int) -> list[tuple[float, float]]:
    if width <= 1:
        return points
    groups = [points[start : start + width] for start in range(0, len(points), width)]
    return [
        (sum(step for step, _ in group) / len(group), sum(value for _, value in group) / len(group))
        for group in groups
    ]


def _round_step(raw: float) -> float:
    power = float(10 ** math.floor(math.log10(raw)))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)


def _tick_texts(values: list[float], step: float) -> list[str]:
    """Write the ticks of one axis alike: as many decimals as the step needs, or powers of ten."""
    largest = max(abs(value) for value in values)
    if largest >= 1e6 or largest < 0.01:
        return [_exponent(value, largest) for value in values]
    places = next(n for n in range(8) if abs(round(step, n) - step) < step * 1e-6)
    return [
        ("\N{MINUS SIGN}" if round(value, places) < 0 else "") + f"{abs(value):,.{places}f}"
        for value in values
    ]


def _whole_texts(values: list[float], step: float) -> list[str]:
    """Write counts in full, or as millions with the decimals that keep the ticks apart."""
    if max(abs(value) for value in values) < 1e6:
        return _tick_texts(values, step)
    places = next(n for n in range(8) if abs(round(step / 1e6, n) - step / 1e6) < step * 1e-12)
    return [f"{value / 1e6:,.{places}f}\N{NO-BREAK SPACE}M" if value else "0" for value in values]


def _exponent(value: float, largest: float) -> str:
    if abs(value) < largest * 1e-9:
        return "0"
    mantissa, power = f"{abs(value):.2e}".split("e")
    sign = "\N{MINUS SIGN}" if value < 0 else ""
    return f"{sign}{mantissa.rstrip('0').rstrip('.')}e{int(power)}".replace("e-", "e\N{MINUS SIGN}")
