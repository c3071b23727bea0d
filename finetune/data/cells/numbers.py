"""Numbers as people write them: units, percent signs, decimal commas, grouped thousands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finetune.data.cells.encoded import Encoded, Found, by_mask

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from finetune.data.cells.encoded import Mask

    Floats = npt.NDArray[np.float64]

# Every part is optional but the digits. A unit has no digits, so that dates, ranges, versions and
# addresses with house numbers behind are no numbers.
_CELL = (
    r"^\s*(?P<sign>[+\-−]?)\s*(?P<currency>(?:[$€£¥₹]|USD|EUR|GBP|CHF)?)\s*"
    r"(?P<number>\d(?:[\d.,'’   ]*\d)?(?:[eE][+\-]?\d+)?|[.,]\d+)"
    r"(?P<unit>\s*[^\d\s.,'’+\-][^\d]{0,23})?[.,]?\s*$"
)
_POINT = r"^(\d+|\d*\.\d+)([eE][+\-]?\d+)?$"
_COMMA = r"^(\d*,\d{1,2}|\d*,\d{4,}|0,\d{3}|\d{1,3}([.'’   ]\d{3})+,\d+|\d{1,3}(\.\d{3}){2,})$"
_GROUPED = r"^\d{1,3}([,'’   ]\d{3})+(\.\d+)?$|^\d{1,3}(,\d{3}){2,}$"
_EITHER = r"^[1-9]\d{0,2}[.,]\d{3}$"  # 1,234 or 1.234: thousands or a fraction

ESTABLISHED_SHARE = 0.01
"""A spelling of a unit in fewer cells than this is a slip; in more, it is somebody's habit."""
BARE_SHARE = 0.2
"""From this share of bare numbers on, the unit is what is too much, not what is lacking."""


@dataclass(frozen=True)
class Numbers:
    """The distinct values of a column read as numbers.

    Args:
        amounts: Their amounts, the unit left aside; NaN where a value is no number.
        units: Their units (with the sign of a currency in front), "" for none; an Arrow array.
        commas: Where the fraction is written behind a comma.
        grouped: Where thousands are set apart.
        spelt: The bare number with a decimal point; null where a value is no number.
    """

    amounts: Floats
    units: Any
    commas: Mask
    grouped: Mask
    spelt: Any

    @property
    def readable(self) -> Mask:
        """Where a value is a number."""
        import numpy as np

        return ~np.isnan(self.amounts)


def read(column: Encoded) -> Numbers:
    """Read each distinct value of a column as a number with its unit, if it is one."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    parts = pc.extract_regex(column.values, _CELL)
    number = pc.struct_field(parts, "number")

    def like(pattern: str) -> Mask:
        matched = pc.fill_null(pc.match_substring_regex(number, pattern), False)
        return np.asarray(matched.to_numpy(zero_copy_only=False), bool)

    points, commas, grouped, either = like(_POINT), like(_COMMA), like(_GROUPED), like(_EITHER)
    weights = column.counts
    with_comma = like(r"^\d{1,3},\d{3}$") & either
    # 1,234 is read as the rest of the column is written; 1.234 too.
    european = weights[commas].sum() > weights[points & like(r"\.")].sum()
    commas = commas & ~points | (with_comma & european)
    grouped = grouped & ~commas | (either & ~with_comma & european)
    if european:
        points = points & ~(either & ~with_comma)
    known = points | commas | grouped
    bare = pc.replace_substring_regex(number, r"['’   ]", "")
    as_comma = pc.replace_substring(pc.replace_substring(bare, ".", ""), ",", ".")
    as_grouped = pc.replace_substring(bare, "." if european else ",", "")
    spelt = pc.if_else(pa.array(commas), as_comma, pc.if_else(pa.array(grouped), as_grouped, bare))
    minus = pc.is_in(pc.struct_field(parts, "sign"), value_set=pa.array(["-", "−"]))
    spelt = pc.if_else(minus, pc.binary_join_element_wise("-", spelt, ""), spelt)
    spelt = pc.if_else(pa.array(known), spelt, pa.scalar(None, pa.string()))
    amounts = pc.cast(spelt, pa.float64()).to_numpy(zero_copy_only=False).astype(np.float64)
    currency = pc.fill_null(pc.struct_field(parts, "currency"), "")
    unit = pc.utf8_trim_whitespace(pc.fill_null(pc.struct_field(parts, "unit"), ""))
    return Numbers(
        amounts, pc.binary_join_element_wise(currency, unit, ""), commas, grouped, _tidy(spelt)
    )


def numeric_share(column: Encoded, numbers: Numbers, present: Mask) -> float:
    """Return the share of the present cells that are numbers, 0.0 when their units are no units.

    Addresses and clothing sizes also begin with digits, but what follows differs too much, or is a
    single letter glued to the number.

    Args:
        column: The column.
        numbers: Its values as numbers.
        present: Which distinct values are there at all.
    """
    import numpy as np

    weights = np.where(present, column.counts, 0)
    total = int(weights.sum())
    if total == 0:
        return 0.0
    names, shares = _unit_shares(column, numbers, present)
    bare = shares[names == ""].sum()
    ordered = np.sort(shares[names != ""])[::-1]
    if ordered.sum() > 0:
        if ordered[:10].sum() < 0.8 * ordered.sum():
            return float(bare)
        common = {str(name).casefold() for name in names[shares >= ESTABLISHED_SHARE]} - {""}
        if common and (common <= {"st", "nd", "rd", "th", "."} or _letters(common)):
            return float(bare)
    return float(weights[numbers.readable].sum() / total)


def units(column: Encoded, numbers: Numbers, present: Mask) -> tuple[Found | None, str]:
    """Find cells with a unit in a numeric column, unless all have the same one.

    Returns:
        The cells, with the bare number proposed (or the number with the column's unit, where all
        but a few cells have it), and the unit that belongs to the column, "" for none.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    names, shares = _unit_shares(column, numbers, present)
    if len(names) == 0:
        return None, ""
    main = str(names[int(shares.argmax())])
    if shares[names == ""].sum() >= BARE_SHARE:
        main = ""
    is_main = np.asarray(pc.equal(numbers.units, main).to_numpy(zero_copy_only=False), bool)
    strange = numbers.readable & present & ~is_main
    rivals = [name for name in names[shares >= ESTABLISHED_SHARE] if name not in (main, "")]
    if main == "" or not rivals:
        if not strange.any():
            return None, main
        spelt = _undoubted(numbers) if main == "" else _with_unit(column, numbers, main, is_main)
        return by_mask(column, "unit", strange, _as_fractions(numbers, spelt, main)), main
    every = numbers.readable & present & ~unitless(numbers)
    return by_mask(column, "unit", every, pc.cast(numbers.spelt, pa.string())), ""


def spellings(column: Encoded, numbers: Numbers, present: Mask) -> list[Found]:
    """Find decimal commas among decimal points (or the reverse), and grouped thousands."""
    import pyarrow.compute as pc

    weights = column.counts
    pointed = numbers.readable & present & ~numbers.commas & ~numbers.grouped
    fractions = pointed & pc.match_substring(column.values, ".").to_numpy(zero_copy_only=False)
    commas, grouped = numbers.commas & present, numbers.grouped & present
    found = []
    if commas.any() and fractions.any():
        rare, kind = commas, "decimal_comma"
        if weights[commas].sum() > weights[fractions].sum():
            rare, kind = fractions, "decimal_point"
        found.append(by_mask(column, kind, rare, numbers.spelt))
    if grouped.any() and weights[grouped].sum() < weights[pointed].sum():
        found.append(by_mask(column, "grouped_number", grouped, numbers.spelt))
    return found


def unitless(numbers: Numbers) -> Mask:
    """Tell which values have no unit."""
    import numpy as np
    import pyarrow.compute as pc

    return np.asarray(pc.equal(numbers.units, "").to_numpy(zero_copy_only=False), bool)


def _unit_shares(column: Encoded, numbers: Numbers, present: Mask) -> tuple[Any, Any]:
    import numpy as np

    use = numbers.readable & present
    encoded = numbers.units.dictionary_encode()
    codes = encoded.indices.to_numpy()
    weights = np.bincount(codes[use], column.counts[use], minlength=len(encoded.dictionary))
    total = max(1, int(column.counts[present].sum()))
    return np.array(encoded.dictionary.to_pylist(), object), weights / total


def _letters(common: set[str]) -> bool:
    """Tell whether several single letters follow the numbers: 12a, 12b are codes."""
    return len(common) > 1 and all(len(name) == 1 and name.isalpha() for name in common)


def _tidy(spelt: Any) -> Any:
    """Write 12.0 as 12 and 0.052000000000000005 as 0.052, as whoever mends a table would."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    spelt = pc.replace_substring_regex(spelt, r"^(-?\d+)\.0+$", r"\1")
    noisy = pc.match_substring_regex(spelt, r"^-?\d*\.\d{15,}$")
    places = np.flatnonzero(pc.fill_null(noisy, False).to_numpy(zero_copy_only=False))
    if len(places) == 0:
        return spelt
    texts = np.array(spelt.to_pylist(), object)
    texts[places] = [format(float(texts[place]), ".12g") for place in places]
    return pa.array(texts.tolist(), pa.string())


def _undoubted(numbers: Numbers) -> Any:
    """Propose no number where a single letter stuck to it may be a mistyped digit: `3595x`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    letter = pc.match_substring_regex(numbers.units, r"^[A-Za-z]$")
    return pc.if_else(letter, pa.scalar(None, pa.string()), numbers.spelt)


def _with_unit(column: Encoded, numbers: Numbers, unit: str, is_main: Mask) -> Any:
    """Write numbers the way the column's first ordinary value is written: `12 oz`, `12%`, `$12`.

    Only where there is no unit or nearly this one: behind another, the number means another thing.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    from rapidfuzz.distance import OSA

    example = column.texts[int(is_main.argmax())].strip()
    if example[0].isdigit():
        space = " " if example[: -len(unit)].endswith(" ") else ""
        written = pc.binary_join_element_wise(numbers.spelt, f"{space}{unit}", "")
    else:
        written = pc.binary_join_element_wise(unit, numbers.spelt, "")
    meant = [
        other == "" or (len(other) > 1 and OSA.distance(other, unit) <= len(unit) // 3)
        for other in numbers.units.to_pylist()
    ]
    # `3x patients`: the letter stuck to the number may have been a digit.
    stuck = pc.match_substring_regex(column.values, r"\d[A-Za-z]\s")
    meant = pc.and_(pa.array(meant, pa.bool_()), pc.invert(stuck))
    return pc.if_else(meant, written, pa.scalar(None, pa.string()))


def _as_fractions(numbers: Numbers, spelt: Any, main: str) -> Any:
    """Propose 0.05 for 5% where the plain numbers of the column are of the size of fractions.

    Where they are of the same size as the percentages, the sign alone is too much.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    percent = pc.equal(numbers.units, "%").to_numpy(zero_copy_only=False).astype(bool)
    percent &= numbers.readable
    plain = numbers.readable & unitless(numbers)
    if main != "" or not percent.any() or not plain.any():
        return spelt
    usual = float(np.median(np.abs(numbers.amounts[plain])))
    if usual == 0 or not 20 <= np.median(np.abs(numbers.amounts[percent])) / usual <= 500:
        return spelt
    hundredth = [format(amount / 100, ".10g") for amount in numbers.amounts[percent]]
    out = np.array(spelt.to_pylist(), object)
    out[percent] = hundredth
    return pa.array(out.tolist(), pa.string())
