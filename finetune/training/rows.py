"""A split as training needs it: ids for messages, raw rows to answer, features to learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Rows:
    """A split as the trainer needs it."""

    ids: Sequence[str]
    """Row ids, for messages."""
    raw: Any
    """Row numbers → raw rows: ``raw.select(numbers)``, a datasets.Dataset."""
    lengths: Sequence[int]
    """Length of each row."""
    fetch: Any
    """Row numbers, and for training each row's visit → features; without visits the rows as they
    are."""
    classes: Sequence[Any] | None = None
    """Class of each row, to balance an epoch by; None meets each row once."""

    def __len__(self) -> int:
        return len(self.ids)
