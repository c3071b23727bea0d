"""Lengths: a histogram of tokens with the limit marked, what was cut off, and padding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from finetune.reports import plots
from finetune.reports.facts import dig, objects
from finetune.reports.numbers import count, counted, number, share

_STRETCH = 20
"""From so many times the median on, the longest row makes the axis a logarithmic one."""
_FAR = 1.6
"""A limit further right than this many times the longest row is said, not drawn."""


@dataclass(frozen=True)
class Block:
    """One bar of a histogram, in per cent of the plot."""

    left: float
    width: float
    height: float
    beyond: bool
    title: str


@dataclass(frozen=True)
class Mark:
    """A vertical line at a length that matters."""

    at: float
    text: str
    style: str


@dataclass(frozen=True)
class Histogram:
    """Rows by length, in a box that the template scales."""

    summary: str
    x: plots.Axis
    y: plots.Axis
    blocks: list[Block]
    marks: list[Mark]


def lengths(audit: dict[str, Any]) -> dict[str, Any] | None:
    """Return the histogram and the figures; None when no row was measured in tokens."""
    tokens = objects(audit.get("tokens"))
    measured = bool(number(tokens.get("max")))
    facts = _facts(audit, tokens) if measured else []
    plot = histogram(tokens)
    return {"plot": plot, "facts": facts, "padding": _padding(tokens)} if facts or plot else None


def histogram(tokens: dict[str, Any]) -> Histogram | None:
    """Draw the rows by length; None when there is nothing to draw."""
    bins = _bins(tokens.get("histogram"))
    if not bins:
        return None
    longest = max(last for _, last, _ in bins)
    limit = number(tokens.get("limit"))
    near = limit is not None and limit <= _FAR * longest
    edges = [bins[0][0], longest + 1, *([limit] if limit is not None and near else [])]
    half = number(tokens.get("p50"))
    # A few rows many times as long as the others would press these into one bar at the left.
    stretched = half is not None and longest > _STRETCH * max(half, 1)
    x = plots.log_axis(edges) if stretched else plots.axis(edges, count=6, whole=True)
    y = plots.axis([0, *(n for _, _, n in bins)], whole=True)
    blocks = [
        Block(
            left=x.place(first),
            width=round(x.place(last + 1) - x.place(first), 2),
            height=y.place(n),
            beyond=limit is not None and first > limit,
            title=f"{count(first)} to {count(last)} tokens: {counted(n, 'row')}",
        )
        for first, last, n in bins
        if n
    ]
    found = [("p50", "half", "plain"), ("p95", "95\N{NO-BREAK SPACE}%", "plain")]
    if near:
        found.append(("limit", "limit", "limit"))
    marks = [
        Mark(x.place(at), f"{name} {count(at)}", style)
        for key, name, style in found
        if (at := number(tokens.get(key))) is not None and x.low <= at <= x.high
    ]
    total = sum(n for _, _, n in bins)
    summary = (
        f"Length in tokens of {counted(total, 'row')}: from {count(bins[0][0])} to "
        f"{count(tokens.get('max') if number(tokens.get('max')) else longest)}"
        + "".join(f", {mark.text}" for mark in marks)
    )
    return Histogram(summary, x, y, blocks, marks)


def _facts(audit: dict[str, Any], tokens: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return name, value and tone of each figure that is known."""
    kept = number(dig(audit, "rows", "kept")) or 0
    truncated = number(tokens.get("truncated_rows"))
    found: list[tuple[str, Any, str, bool]] = [
        ("Half of the rows have at most", tokens.get("p50"), "token", False),
        ("95\N{NO-BREAK SPACE}% of the rows have at most", tokens.get("p95"), "token", False),
        ("The longest row has", tokens.get("max"), "token", False),
        ("The longest answer has", tokens.get("target_max"), "token", False),
        ("The limit is", tokens.get("limit"), "token", False),
        ("Cut at the limit", truncated, "row", True),
        ("Lost by that", tokens.get("tokens_lost"), "token", True),
        ("Divided into several", tokens.get("divided_rows"), "row", False),
        ("Nothing to learn from in", tokens.get("untrainable_rows"), "row", True),
    ]
    rows = []
    for name, value, noun, bad in found:
        n = number(value)
        if n is None:
            continue
        text = counted(n, noun)
        if n and value is truncated and kept >= n:
            text += f" ({share(n, kept)})"
        rows.append((name, text, "bad" if bad and n else ""))
    return rows


def _padding(tokens: dict[str, Any]) -> list[dict[str, Any]]:
    """Return how much of a batch would be padding, in random order and by length."""
    names = {"random": "Batches in random order", "by_length": "Batches of rows of similar length"}
    return [
        {"name": name, "text": share(part, 1), "width": round(100 * part, 1)}
        for key, name in names.items()
        if (part := number(dig(tokens, "padding", key))) is not None and 0 <= part <= 1
    ]


def _bins(raw: Any) -> list[tuple[float, float, float]]:
    bins = []
    for each in raw if isinstance(raw, list) else []:
        numbers = [number(part) for part in each] if isinstance(each, list) else []
        known = [part for part in numbers if part is not None]
        if len(numbers) == len(known) == 3 and known[0] <= known[1] and known[2] >= 0:
            bins.append((known[0], known[1], known[2]))
    return sorted(bins)
