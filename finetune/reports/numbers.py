"""Numbers as text: never rounded so far that a difference disappears."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

_MOST_DECIMALS = 12
_MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Estimate:
    """A measured value with its confidence interval; the interval may be unknown."""

    value: float
    low: float | None = None
    high: float | None = None

    @classmethod
    def read(cls, raw: Any) -> Estimate | None:
        """Read ``{value, low, high}`` or a plain number; anything else is unknown."""
        if isinstance(raw, dict):
            value = number(raw.get("value", raw.get("difference")))
            low, high = number(raw.get("low")), number(raw.get("high"))
            if value is None:
                return None
            return cls(value, low, high) if low is not None and high is not None else cls(value)
        value = number(raw)
        return None if value is None else cls(value)

    @property
    def uncertain(self) -> bool:
        """Whether there is an interval that has a width; sums leave noise in the last bits."""
        if self.low is None or self.high is None:
            return False
        return self.high - self.low > 1e-9 * max(1.0, abs(self.value))

    @property
    def bounds(self) -> tuple[float, float]:
        """The interval, or the value twice when the interval is unknown."""
        if self.low is None or self.high is None:
            return self.value, self.value
        return self.low, self.high


def number(raw: Any) -> float | None:
    """Return a finite float, or None for anything else (a truth value is no number)."""
    if isinstance(raw, bool) or not isinstance(raw, (int, float)):
        return None
    try:
        value = float(raw)
    except OverflowError:
        return None
    return value if math.isfinite(value) else None


def decimals(values: Iterable[float | None], *, least: int | None = None) -> int:
    """Return how many decimals keep these values apart, and apart from whole numbers.

    Three, or two from ten upwards; more as soon as two different values would look the same, or
    0.9997 would look like 1. ``least`` replaces the three or two.
    """
    known = sorted({value for value in values if value is not None})
    largest = max((abs(value) for value in known), default=0.0)
    least = least if least is not None else 3 if largest < 10 else 2
    # Noise in the last bits of a float is no difference.
    apart = [
        b for a, b in zip([-math.inf, *known], known, strict=False) if b - a > 1e-9 * max(1, abs(b))
    ]
    for places in range(least, _MOST_DECIMALS):
        shown = [round(value, places) for value in apart]
        whole = any(
            s == round(s) and abs(v - round(v)) > 1e-9 for s, v in zip(shown, apart, strict=True)
        )
        if len(set(shown)) == len(apart) and not whole:
            return places
    return _MOST_DECIMALS


def plain(value: float, places: int | None = None, *, signed: bool = False) -> str:
    """Write a number with a true minus sign; ``signed`` adds a plus to gains."""
    places = decimals([value]) if places is None else places
    rounded = round(value, places) + 0.0  # no negative zero
    text = f"{abs(rounded):,.{places}f}"
    if rounded < 0:
        return _MINUS + text
    return "+" + text if signed and rounded > 0 else text


def interval(estimate: Estimate, places: int | None = None, *, signed: bool = False) -> str:
    """Write ``0.917 [0.899, 0.934]``, or the value alone when the interval is unknown.

    So it is when it has no width: rows that are all alike leave nothing to resample.
    """
    if places is None:
        places = decimals([estimate.value, estimate.low, estimate.high])
    value = plain(estimate.value, places, signed=signed)
    if not estimate.uncertain:
        return value
    low, high = (plain(bound, places, signed=signed) for bound in estimate.bounds)
    return f"{value} [{low}, {high}]"


def shared_decimals(estimates: Iterable[Estimate | None]) -> int:
    """Return the decimals that a column of estimates needs: values apart, intervals open."""
    known = [estimate for estimate in estimates if estimate is not None]
    between = decimals(each.value for each in known)
    least = 2 if any(abs(each.value) >= 10 for each in known) else 3
    within = [decimals([each.value, each.low, each.high], least=least) for each in known]
    return max([between, *within])


def count(value: Any) -> str:
    """Write a whole number with thousands separated, or a dash when it is unknown."""
    known = number(value)
    return "–" if known is None else f"{known:,.0f}"


def counted(value: Any, noun: str) -> str:
    """Write a count with its noun: ``1 row``, ``7 rows``; a dash when it is unknown."""
    return f"{count(value)} {noun}{'' if number(value) == 1 else 's'}"


def share(part: float, whole: float) -> str:
    """Write a part of a whole in per cent; never 0 % of something, nor 100 % of less than all."""
    if whole <= 0:
        return "–"
    percent = 100 * part / whole
    for places in range(1, 6):
        text = f"{percent:.{places}f}"
        if part in (0, whole) or float(text) not in (0.0, 100.0):
            break
    return ("100" if part == whole else "0" if part == 0 else text) + "\N{NO-BREAK SPACE}%"


def duration(seconds: Any) -> str:
    """Write seconds as a person would: ``0.42 s``, ``58 s``, ``4 min 07 s``, ``2 h 05 min``."""
    known = number(seconds)
    if known is None:
        return "–"
    if known < 10:
        return f"{known:.2g} s" if known < 1 else f"{known:.1f} s"
    whole = round(known)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def memory(size: Any) -> str:
    """Write bytes in binary units."""
    known = number(size)
    if known is None:
        return "–"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if known < 1024:
            return f"{known:.0f} {unit}" if unit in ("B", "KiB", "MiB") else f"{known:.1f} {unit}"
        known /= 1024
    return f"{known:.1f} TiB"
