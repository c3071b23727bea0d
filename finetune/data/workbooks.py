"""Workbooks of Excel and LibreOffice: one sheet, its cells as text."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from datetime import date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.data import ids
from finetune.data.delimited import named_columns, without_blank_columns
from finetune.errors import ConfigError, DataError, did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

MAX_UNPACKED = 2 << 30
"""Bytes that the parts of a workbook may unpack to: it is read as a whole."""


def read_workbook(
    path: Path,
    name: str,
    *,
    sheet: str | None,
    header: Sequence[str] | None,
    messages: list[str],
) -> tuple[pa.Table, ids.Ids]:
    """Read a sheet; ids name its rows as the spreadsheet program counts them.

    Args:
        path: An xlsx, xls or ods file.
        name: What the file is called in ids and errors.
        sheet: Which sheet; may be None when only one holds anything.
        header: Column names, when the sheet has none of its own.
        messages: Grows by what was recognised.

    Raises:
        DataError: It is no workbook, is locked, or has several sheets.
        ConfigError: It has no such sheet.
    """
    import pyarrow as pa
    import python_calamine

    _refuse_bomb(path, name)
    try:
        workbook = python_calamine.CalamineWorkbook.from_path(str(path))
        found = _sheet(workbook, name, sheet)
        rows, numbers = _rows(found)
    except python_calamine.PasswordError:
        raise DataError(
            f"`{name}` is locked by a password.", fix="Save it without one, or as csv."
        ) from None
    except (python_calamine.CalamineError, python_calamine.ZipError, python_calamine.XmlError):
        raise DataError(
            f"`{name}` cannot be read as a workbook.", fix="Open it and save it again, or as csv."
        ) from None
    if not rows:
        raise DataError(f"`{name}` holds no rows.", fix="Give a sheet that has rows.")
    width = max(len(row) for row in rows)
    if header and len(header) != width:
        raise ConfigError(
            f"`data.header` names {len(header)} columns, but `{name}` has {width}.",
            fix="Name every column.",
        )
    columns = named_columns(header or rows[0], name)
    body, places = (rows, numbers) if header else (rows[1:], numbers[1:])
    table = pa.table(
        {
            column: pa.array([row[index] for row in body], pa.string())
            for index, column in enumerate(columns)
        }
    )
    return without_blank_columns(table, name, messages), ids.at_lines(name, places)


def _sheet(workbook: Any, name: str, sheet: str | None) -> Any:
    names: list[str] = list(workbook.sheet_names)
    if sheet is not None and sheet not in names:
        raise ConfigError(
            f"`{name}` has no sheet `{sheet}`{did_you_mean(sheet, names) or '.'}",
            fix=f"Its sheets are {', '.join(f'`{other}`' for other in names)}.",
        )
    filled = [sheet] if sheet else [other for other in names if _holds_any(workbook, other)]
    if len(filled) > 1:
        raise DataError(
            f"`{name}` has {len(filled)} sheets: {', '.join(f'`{other}`' for other in filled)}.",
            fix="Say which one: data.sheet=NAME.",
        )
    return workbook.get_sheet_by_name((filled or names)[0])


def _holds_any(workbook: Any, sheet: str) -> bool:
    try:
        return bool(workbook.get_sheet_by_name(sheet).height)
    except Exception:  # a chart has no cells and fails in its own way
        return False


def _rows(sheet: Any) -> tuple[list[list[str]], list[int]]:
    """Return the rows that hold anything, and their numbers in the spreadsheet."""
    rows, numbers = [], []
    for number, cells in enumerate(sheet.iter_rows(), start=(sheet.start or (0, 0))[0] + 1):
        texts = [spelt(cell) for cell in cells]
        if any(texts):
            rows.append(texts)
            numbers.append(number)
    return rows, numbers


def spelt(cell: Any) -> str:
    """Return the text of a cell: whole numbers without a point, dates as ISO writes them."""
    if isinstance(cell, bool):
        return "TRUE" if cell else "FALSE"
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() and abs(cell) < 2**53 else repr(cell)
    if isinstance(cell, datetime | date | time):
        return cell.isoformat()
    return str(cell)


def _refuse_bomb(path: Path, name: str) -> None:
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as parts:
        unpacked = sum(part.file_size for part in parts.infolist())
    if unpacked > MAX_UNPACKED:
        raise DataError(
            f"`{name}` unpacks to {unpacked >> 20:,} MiB, which is more than a workbook may.",
            fix="Save the sheet as csv.",
        )
