"""What kind of thing a column holds: numbers, dates, categories, keys or free text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from finetune.data.cells import dates, missing, numbers
from finetune.data.cells.dates import Dates
from finetune.data.cells.encoded import Encoded
from finetune.data.cells.numbers import Numbers

if TYPE_CHECKING:
    from finetune.data.cells.encoded import Mask

NUMERIC_SHARE = 0.8
DATE_SHARE = 0.8
KEY_SHARE = 0.95
TEXT_LENGTH = 40
"""Mean length beyond which values that hardly recur are texts rather than names."""


@dataclass(frozen=True)
class Profile:
    """What a column holds.

    Args:
        column: The column.
        kind: `number`, `date`, `category`, `key`, `text` or `empty`.
        present: Which distinct values are there at all.
        markers: Which distinct values are markers of a missing value.
        blank: Which distinct values are nothing but space.
        numbers: The values as numbers, where most are.
        dates: The values as dates, where most are.
    """

    column: Encoded
    kind: str
    present: Mask
    markers: Mask
    blank: Mask
    numbers: Numbers | None = None
    dates: Dates | None = None

    @property
    def missing_rows(self) -> int:
        """How many rows have no value, whichever way that is written."""
        return len(self.column.codes) - self.present_rows

    @property
    def present_rows(self) -> int:
        """How many rows have a value."""
        return int(self.column.counts[self.present].sum())

    @property
    def distinct(self) -> int:
        """How many different values are present."""
        return int(self.present.sum())

    @property
    def recurs(self) -> bool:
        """Whether values come back, so that one row can be compared with another."""
        return 2 <= self.distinct <= 0.5 * self.present_rows


def profile(column: Encoded) -> Profile:
    """Infer what a column holds from all of its values."""
    blank = missing.blank(column)
    narrow = missing.markers(column, among_words=True)
    wide = missing.markers(column, among_words=False)
    present = ~blank & ~wide
    as_numbers = numbers.read(column)
    if numbers.numeric_share(column, as_numbers, present) >= NUMERIC_SHARE:
        compact = dates.compact(column, present)
        if compact is None:
            return Profile(column, "number", present, wide, blank, numbers=as_numbers)
        return Profile(column, "date", present, wide, blank, dates=compact)
    as_dates = dates.read(column, present)
    if dates.share(column, as_dates, present) >= DATE_SHARE:
        return Profile(column, "date", present, wide, blank, dates=as_dates)
    present = ~blank & ~narrow
    return Profile(column, _words(column, present), present, narrow, blank)


def _words(column: Encoded, present: Mask) -> str:
    import numpy as np
    import pyarrow.compute as pc

    rows = int(column.counts[present].sum())
    if rows == 0:
        return "empty"
    distinct = int(present.sum())
    lengths = pc.utf8_length(column.values).to_numpy(zero_copy_only=False)
    mean = float(np.average(lengths[present], weights=column.counts[present]))
    if distinct <= 0.5 * rows or (distinct <= 20 and mean <= TEXT_LENGTH):
        return "category"
    if mean > TEXT_LENGTH:
        return "text"
    return "key" if distinct >= KEY_SHARE * rows else "category"
