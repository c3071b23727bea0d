"""Media: how large pictures are and how long recordings."""

from __future__ import annotations

from typing import Any

from finetune.reports import names
from finetune.reports.facts import dig, objects
from finetune.reports.numbers import count, counted, duration, number


def pictures(audit: dict[str, Any]) -> list[tuple[str, str]]:
    """Return smallest, median and largest width and height, and the formats."""
    known = objects(audit.get("pictures"))
    rows = []
    for side in ("width", "height"):
        sizes = [number(dig(known, side, key)) for key in ("min", "p50", "max")]
        if any(size is not None for size in sizes):
            low, middle, high = (count(size) for size in sizes)
            text = (
                f"{low} pixels" if low == high else f"{low} to {high} pixels, half at most {middle}"
            )
            rows.append((side.capitalize(), text))
    if rows and number(known.get("rows")) is not None:
        rows.insert(0, ("Pictures", count(known.get("rows"))))
    return rows + _tally("Formats", known.get("formats"), "")


def recordings(audit: dict[str, Any]) -> list[tuple[str, str]]:
    """Return how long recordings are, how many exceed the encoder's window, sampling rates."""
    known, tokens = objects(audit.get("recordings")), objects(dig(audit, "tokens", "audio_seconds"))
    total = _first(tokens.get("total"), known.get("total_seconds"))
    beyond = _first(tokens.get("beyond_30"), known.get("beyond_30"))
    spoken = {
        "Recordings": (known.get("rows"), count),
        "Together": (total, duration),
        "Shortest": (dig(known, "seconds", "min"), duration),
        "Half are at most": (_first(tokens.get("p50"), dig(known, "seconds", "p50")), duration),
        "Longest": (_first(tokens.get("longest"), dig(known, "seconds", "max")), duration),
        "Longer than 30 s": (beyond, lambda n: counted(n, "recording")),
    }
    rows = [
        (name, write(value)) for name, (value, write) in spoken.items() if number(value) is not None
    ]
    return rows + _tally("Sampling rates", known.get("sampling_rates"), " Hz")


def _tally(name: str, raw: Any, unit: str) -> list[tuple[str, str]]:
    parts = [
        f"{names.shorten(key, 20)}{unit} ({count(n)})"
        for key, n in objects(raw).items()
        if number(n) is not None
    ]
    return [(name, ", ".join(parts))] if parts else []


def _first(*values: Any) -> float | None:
    return next((known for value in values if (known := number(value)) is not None), None)
