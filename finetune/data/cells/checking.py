"""Every check of a table's cells, and what they found, by column and cell by cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from finetune.data.cells import dates, dependencies, moved, numbers, outliers, redundant, typos
from finetune.data.cells.encoded import Encoded, Found, by_mask, encode
from finetune.data.cells.profile import Profile, profile

if TYPE_CHECKING:
    from finetune.data.cells.encoded import Mask

EXAMPLES = 5
MOST_COMPARED = 40
"""Columns that are compared with each other; there are n² pairs."""


@dataclass(frozen=True)
class Checked:
    """What is wrong with the cells of a table; nothing is changed or dropped.

    Args:
        columns: For each column its `kind`, `rows`, `missing`, `distinct`, what was `found` by kind
            with counts, `examples` of row ids by kind, and where they apply `unit`, `constant`,
            `same_as` and `follows_from`.
        findings: An Arrow table of `row`, `column`, `kind` and `proposal`, a cell once for each
            kind, in the order of rows.
    """

    columns: dict[str, dict[str, Any]]
    findings: Any


def check(
    table: Any, columns: Sequence[str] | None = None, *, ids: Any = None, examples: int = EXAMPLES
) -> Checked:
    """Look for what is wrong with the cells of a table.

    Args:
        table: An Arrow table, in memory or mapped.
        columns: Names of the columns to look at; all of them when None.
        ids: Id of each row, for the examples; row numbers from 0 when None.
        examples: How many row ids to name for each kind.
    """
    profiles: dict[str, Profile] = {}
    for name in table.column_names if columns is None else columns:
        encoded = encode(name, table.column(name))
        if encoded is not None:
            profiles[name] = profile(encoded)
    described: dict[str, dict[str, Any]] = {
        name: {
            "kind": found.kind,
            "rows": len(found.column.codes),
            "missing": found.missing_rows,
            "distinct": found.distinct,
            "found": {},
            "examples": {},
        }
        for name, found in profiles.items()
    }
    found: list[Found] = []
    for name, one in profiles.items():
        if one.distinct == 1:
            described[name]["constant"] = True
        of_column, unit, one = _alone(one)
        profiles[name] = one
        found += of_column
        if unit:
            described[name]["unit"] = unit
    for name, other in redundant.same(list(profiles.values())).items():
        described[name]["same_as"] = other
    found = _together(profiles, found, described)
    for one_kind in found:
        _describe(described[one_kind.column], one_kind, ids, examples)
    return Checked(described, _flat(found, list(profiles)))


def _alone(one: Profile) -> tuple[list[Found], str, Profile]:
    """Check a column by itself."""
    import pyarrow as pa

    column, unit = one.column, ""
    found: list[Found] = []
    nothing = pa.nulls(len(column.values), pa.string())
    markers = one.markers
    if one.numbers is not None:
        amounts = one.numbers
        stand_ins = outliers.stand_ins(column, amounts, one.present)
        markers = markers | stand_ins
        one = replace(one, present=one.present & ~stand_ins, markers=markers)
        with_unit, unit = numbers.units(column, amounts, one.present)
        found += [with_unit] if with_unit else []
        found += numbers.spellings(column, amounts, one.present)
        strange = one.present & ~amounts.readable
        found += [by_mask(column, "not_a_number", strange, nothing)]
        far = outliers.outliers(column, amounts, one.present)
        found += [far] if far else []
    elif one.dates is not None:
        found += dates.findings(column, one.dates, one.present)
    elif one.kind == "category":
        for detector in (typos.variants, typos.typos):
            slips = detector(column, one.present)
            found += [slips] if slips else []
    found.append(by_mask(column, "missing_marker", markers, nothing))
    return [item for item in found if len(item.rows)], unit, one


def _together(
    profiles: Mapping[str, Profile], found: list[Found], described: dict[str, dict[str, Any]]
) -> list[Found]:
    """Check columns against each other, and take back what the others vouch for."""
    import numpy as np

    recurring = [one for one in profiles.values() if one.recurs][:MOST_COMPARED]
    present = {one.column.name: one.present for one in recurring}
    words = [one.column for one in recurring if one.kind == "category"]
    moved_cells = moved.run_together(words, present) + moved.elsewhere(words, present)
    broken = {
        name: np.concatenate([item.rows for item in moved_cells if item.column == name])
        for name in {item.column for item in moved_cells}
    }
    targets = {one.column.name for one in recurring if not _amounts(one)}
    judged = dependencies.judge(
        [one.column for one in recurring], present=present, broken=broken, targets=targets
    )
    kept = moved_cells
    for item in found:
        if item.kind in ("typo", "spelling") and item.column in judged:
            column = profiles[item.column].column
            item = item.where(~_vouched(column, judged[item.column].supported)[item.rows])
        if len(item.rows):
            kept.append(item)
    for name, verdict in judged.items():
        described[name]["follows_from"] = verdict.keys
        if verdict.found is not None and len(verdict.found.rows):
            kept.append(verdict.found)
    return kept


def _amounts(one: Profile) -> bool:
    """Tell whether a column holds amounts rather than words or the numbers of things."""
    if one.numbers is None:
        return False
    counts, readable = one.column.counts, one.numbers.readable & one.present
    fractions = readable & (one.numbers.amounts % 1 != 0)
    bare = readable & numbers.unitless(one.numbers)
    return bool(
        counts[fractions].sum() > 0.001 * one.present_rows
        or counts[bare].sum() < 0.9 * one.present_rows
    )


def _vouched(column: Encoded, supported: Mask) -> Mask:
    """Tell which rows have a value that other columns support in most of its rows."""
    import numpy as np

    rows = supported & (column.codes >= 0)
    counts = np.bincount(column.codes[rows], minlength=len(column.values))
    return column.of_rows(2 * counts > column.counts)


def _describe(entry: dict[str, Any], found: Found, ids: Any, examples: int) -> None:
    entry["found"][found.kind] = entry["found"].get(found.kind, 0) + len(found.rows)
    named = entry["examples"].setdefault(found.kind, [])
    for row in found.rows[: examples - len(named)].tolist():
        identity = row if ids is None else ids[row]
        named.append(identity.as_py() if hasattr(identity, "as_py") else identity)


def _flat(found: Sequence[Found], names: Sequence[str]) -> Any:
    """Put all findings into one table; column and kind are held once as dictionaries."""
    import numpy as np
    import pyarrow as pa

    schema = pa.schema(
        [
            ("row", pa.int64()),
            ("column", pa.dictionary(pa.int32(), pa.string())),
            ("kind", pa.dictionary(pa.int32(), pa.string())),
            ("proposal", pa.string()),
        ]
    )
    if not found:
        return schema.empty_table()
    kinds = sorted({item.kind for item in found})
    sizes = [len(item.rows) for item in found]

    def spread(places: list[int], words: Sequence[str]) -> Any:
        codes = pa.array(np.repeat(places, sizes), pa.int32())
        return pa.DictionaryArray.from_arrays(codes, pa.array(words, pa.string()))

    table = pa.table(
        [
            pa.array(np.concatenate([item.rows for item in found]), pa.int64()),
            spread([names.index(item.column) for item in found], names),
            spread([kinds.index(item.kind) for item in found], kinds),
            pa.chunked_array([item.proposals for item in found], pa.string()),
        ],
        schema=schema,
    )
    order = np.argsort(table.column("row").to_numpy(), kind="stable")
    return table.take(pa.array(order)).combine_chunks()
