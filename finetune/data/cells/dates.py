"""Dates as people write them: in which order, in which mixture, and which never were."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finetune.data.cells.encoded import Encoded, Found, by_mask

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from finetune.data.cells.encoded import Mask

    Whole = npt.NDArray[np.int64]

_TIME = (
    r"(?:[T ,]\s*\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?\s*(?:[AaPp][Mm])?"
    r"\s*(?:Z|UTC|[+\-]\d{2}:?\d{2})?)?"
)
_MONTH = r"(?P<word>[A-Za-zäé]{3,9})\.?"
_FORMS = {
    "year-month-day": rf"^\s*(?P<y>\d{{4}})-(?P<m>\d{{1,2}})-(?P<d>\d{{1,2}}){_TIME}\s*$",
    "year/month/day": rf"^\s*(?P<y>\d{{4}})[/.](?P<m>\d{{1,2}})[/.](?P<d>\d{{1,2}}){_TIME}\s*$",
    "slashes": rf"^\s*(?P<a>\d{{1,2}})/(?P<b>\d{{1,2}})/(?P<y>\d{{4}}|\d{{2}}){_TIME}\s*$",
    "points": rf"^\s*(?P<a>\d{{1,2}})\.\s?(?P<b>\d{{1,2}})\.\s?(?P<y>\d{{4}}|\d{{2}}){_TIME}\s*$",
    "dashes": rf"^\s*(?P<a>\d{{1,2}})-(?P<b>\d{{1,2}})-(?P<y>\d{{4}}|\d{{2}}){_TIME}\s*$",
    "day month year": (
        rf"^\s*(?P<d>\d{{1,2}})(?:st|nd|rd|th|\.)?[\s\-]{_MONTH}[\s\-,]+(?P<y>\d{{4}}|\d{{2}}){_TIME}\s*$"
    ),
    "month day year": (
        rf"^\s*{_MONTH}\s+(?P<d>\d{{1,2}})(?:st|nd|rd|th)?,?\s+(?P<y>\d{{4}}){_TIME}\s*$"
    ),
}
_COMPACT = r"^(?P<y>(?:19|20)\d{2})(?P<m>\d{2})(?P<d>\d{2})$"
_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            *("jan january januar", "feb february februar", "mar march märz mär"),
            *("apr april", "may mai", "jun june juni", "jul july juli", "aug august"),
            *("sep sept september", "oct october okt oktober", "nov november"),
            "dec december dez dezember",
        ),
        start=1,
    )
    for name in names.split()
}
_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


@dataclass(frozen=True)
class Dates:
    """The distinct values of a column read as dates.

    Args:
        forms: Names of the forms met.
        form: For each value the place of its form; -1 where it has none.
        impossible: Values of a form that are no day of any year.
        contrary: Values that must be read with day and month the other way round.
        days: The ISO date of each value; null where it is none or can be read in two ways.
    """

    forms: list[str]
    form: Whole
    impossible: Mask
    contrary: Mask
    days: Any


def read(column: Encoded, present: Mask) -> Dates:
    """Read each distinct value as a date, if it has the form of one.

    Where the day and the month are both numbers up to 12, the column decides: one value above 12
    in either place shows the order of all.
    """
    import numpy as np

    size = len(column.values)
    form = np.full(size, -1, np.int64)
    years, months, days = (np.zeros(size, np.int64) for _ in range(3))
    contrary, open_order = np.zeros(size, bool), np.zeros(size, bool)
    forms = list(_FORMS)
    for place, pattern in enumerate(_FORMS.values()):
        fields = _fields(column, pattern)
        matched = fields["y"] >= 0
        matched &= present & (form < 0)
        if "word" in fields:
            matched &= fields["word"] > 0
        if not matched.any():
            continue
        form[matched] = place
        if "a" in fields:
            first, second = fields["a"], fields["b"]
            day_first, sure, against = _order(first, second, matched, column.counts)
            fields["d"] = np.where(day_first ^ against, first, second)
            fields["m"] = np.where(day_first ^ against, second, first)
            contrary |= against
            if not sure:
                open_order |= matched & (first != second)
        years[matched] = _full_years(fields["y"])[matched]
        months[matched] = fields.get("m", fields.get("word", years))[matched]
        days[matched] = fields["d"][matched]
    possible = _possible(years, months, days)
    known = (form >= 0) & possible
    spelt = _iso(years, months, days, known & ~open_order)
    return Dates(forms, form, (form >= 0) & ~possible, contrary, spelt)


def share(column: Encoded, dates: Dates, present: Mask) -> float:
    """Return the share of the present cells that have the form of a date."""
    total = int(column.counts[present].sum())
    return float(column.counts[dates.form >= 0].sum() / total) if total else 0.0


def compact(column: Encoded, present: Mask) -> Dates | None:
    """Read a column of 20240131 as dates, if nearly all of it can be nothing else."""
    import numpy as np

    fields = _fields(column, _COMPACT)
    matched = (fields["y"] >= 0) & present
    possible = matched & _possible(fields["y"], fields["m"], fields["d"])
    total = int(column.counts[present].sum())
    if total == 0 or column.counts[possible].sum() < 0.95 * total or possible.sum() < 2:
        return None
    form = np.where(matched, 0, -1).astype(np.int64)
    none = np.zeros(len(form), bool)
    spelt = _iso(fields["y"], fields["m"], fields["d"], possible)
    return Dates(["yearmonthday"], form, matched & ~possible, none, spelt)


def findings(column: Encoded, dates: Dates, present: Mask) -> list[Found]:
    """Find impossible dates, forms other than the usual one, and what is no date at all."""
    import numpy as np
    import pyarrow as pa

    found = []
    nothing = pa.nulls(len(column.values), pa.string())
    weights = np.bincount(
        dates.form[dates.form >= 0], column.counts[dates.form >= 0], minlength=len(dates.forms)
    )
    usual = int(weights.argmax())
    possible = (dates.form >= 0) & ~dates.impossible
    other = possible & ((dates.form != usual) | dates.contrary)
    for kind, flagged, proposals in (
        ("impossible_date", dates.impossible, nothing),
        ("date_format", other, dates.days),
        ("not_a_date", present & (dates.form < 0), nothing),
    ):
        if flagged.any():
            found.append(by_mask(column, kind, flagged, proposals))
    return found


def _fields(column: Encoded, pattern: str) -> dict[str, Whole]:
    """Read the named parts of a pattern as numbers; -1 where it doesn't match."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    parts = pc.extract_regex(column.values, pattern)
    fields = {}
    for part in parts.type:
        texts = pc.struct_field(parts, part.name)
        if part.name == "word":
            names = pc.utf8_lower(texts).to_pylist()
            fields["word"] = np.array([_MONTHS.get(name, 0) for name in names], np.int64)
        else:
            numbers = pc.fill_null(pc.cast(texts, pa.int64()), -1)
            fields[part.name] = numbers.to_numpy(zero_copy_only=False).astype(np.int64)
    return fields


def _order(first: Whole, second: Whole, matched: Mask, counts: Whole) -> tuple[bool, bool, Mask]:
    """Return whether the day comes first, whether that is sure, and which values contradict it."""
    only_day_first = matched & (first > 12) & (second <= 12)
    only_month_first = matched & (second > 12) & (first <= 12)
    votes_day, votes_month = counts[only_day_first].sum(), counts[only_month_first].sum()
    day_first = bool(votes_day >= votes_month)
    against = only_month_first if day_first else only_day_first
    rare = min(votes_day, votes_month) * 10 <= max(votes_day, votes_month)
    return day_first, bool(max(votes_day, votes_month) > 0 and rare), against


def _full_years(years: Whole) -> Whole:
    """Read two digits as a year from 1970 to 2069, as strptime nearly does."""
    import numpy as np

    return np.where(years >= 100, years, np.where(years < 70, years + 2000, years + 1900))


def _possible(years: Whole, months: Whole, days: Whole) -> Mask:
    import numpy as np

    lengths = np.array((0, *_DAYS))[np.clip(months, 0, 12)]
    leap = (years % 4 == 0) & ((years % 100 != 0) | (years % 400 == 0))
    lengths = lengths + (leap & (months == 2))
    possible: Mask = (months >= 1) & (months <= 12) & (days >= 1) & (days <= lengths) & (years >= 1)
    return possible


def _iso(years: Whole, months: Whole, days: Whole, known: Mask) -> Any:
    import numpy as np
    import pyarrow as pa

    spelt = np.full(len(years), None, object)
    spelt[known] = [
        f"{year:04d}-{month:02d}-{day:02d}"
        for year, month, day in zip(years[known], months[known], days[known], strict=True)
    ]
    return pa.array(spelt, pa.string())
