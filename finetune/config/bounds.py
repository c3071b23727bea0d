"""Numbers of a configuration within bounds, declared where the key is."""

from __future__ import annotations

from dataclasses import field
from typing import Any


def bounded(
    default: Any = None,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
) -> Any:
    """Declare a field whose numbers lie in ``[low, high]`` or above a bound, exclusive."""
    return field(default=default, metadata={"low": low, "high": high, "above": above})
