"""Values of one canonical column: converted to its Arrow type, and what is wrong with which row."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from finetune.data.problems import places
from finetune.errors import DataError

Checked = tuple[Any, dict[int, str], list[str]]
"""An Arrow column, the reason for each row that cannot be used, and what to tell the user."""


def messages_type() -> Any:
    """Return the Arrow type of a conversation."""
    import pyarrow as pa

    return pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))


def text_values(column: Any, name: str, *, required: bool = True) -> Checked:
    """Check a text column; a column of nothing but numbers is spelt out, and that is said."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not isinstance(column, list):
        kind = column.type
        if pa.types.is_dictionary(kind):
            column, kind = column.cast(kind.value_type), kind.value_type
        if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
            column, kind = column.cast(pa.string()), pa.string()
        if pa.types.is_string(kind):
            blank = pc.fill_null(pc.equal(pc.utf8_trim_whitespace(column), ""), True)
            wrong = _where(column, blank) if required and pc.any(blank).as_py() else {}
            return column, wrong, []
        if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            spelt = _numbers(column)
            wrong = {i: "is missing" for i, value in enumerate(spelt) if value is None}
            said = f"`{name}` holds numbers: they are used as their spelling."
            return pa.chunked_array([pa.array(spelt, pa.string())]), wrong, [said]
        column = column.to_pylist()
    values: list[str | None] = []
    wrong = {}
    for index, value in enumerate(column):
        reason = _wrong_text(value)
        values.append(value if reason is None else None)
        if reason is not None and (required or reason not in ("is missing", "is empty")):
            wrong[index] = reason
    return pa.chunked_array([pa.array(values, pa.string())]), wrong, []


def filled(column: Any, value: str) -> tuple[Any, int]:
    """Return a column with a value where there is none or a blank one, and in how many rows."""
    import pyarrow as pa

    listed = column if isinstance(column, list) else column.to_pylist()
    lacking = [
        item is None
        or (isinstance(item, float) and math.isnan(item))
        or (isinstance(item, str) and not item.strip())
        for item in listed
    ]
    if not any(lacking):
        return column, 0
    made = [value if lacks else item for item, lacks in zip(listed, lacking, strict=True)]
    texts = all(isinstance(item, str) for item in made)
    return (pa.chunked_array([pa.array(made, pa.string())]) if texts else made), sum(lacking)


def _where(column: Any, blank: Any) -> dict[int, str]:
    import numpy as np

    places_ = np.flatnonzero(blank.to_numpy(zero_copy_only=False))
    missing = column.is_null().to_numpy(zero_copy_only=False)
    return {int(index): "is missing" if missing[index] else "is empty" for index in places_}


def _numbers(column: Any) -> list[str | None]:
    return [
        None if value is None or (isinstance(value, float) and math.isnan(value)) else _spelt(value)
        for value in column.to_pylist()
    ]


def _spelt(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _wrong_text(value: Any) -> str | None:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "is missing"
    if not isinstance(value, str):
        return f"is {_named(value)} instead of text"
    if not value.strip():
        return "is empty"
    try:
        value.encode()
    except UnicodeEncodeError:
        return "has characters that are not valid Unicode (lone surrogates)"
    return None


def _named(value: Any) -> str:
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, dict):
        return "an object"
    return "a list" if isinstance(value, list) else f"a {type(value).__name__}"


def label_values(column: Any, name: str, ids: Sequence[str]) -> Checked:
    """Check a label column: one type throughout, spelt as text.

    Raises:
        DataError: The labels have several types, or are fractions.
    """
    import pyarrow as pa

    values = column if isinstance(column, list) else column.to_pylist()
    values = [None if isinstance(item, float) and math.isnan(item) else item for item in values]
    types = Counter(_named_label(item) for item in values if item is not None)
    if len(types) > 1:
        found = ", ".join(f"{count:,} are {kind}" for kind, count in types.most_common())
        rare = types.most_common()[-1][0]
        where = [
            row
            for row, item in zip(ids, values, strict=True)
            if item is not None and _named_label(item) == rare
        ]
        raise DataError(
            f"The labels in `{name}` are of several types: {found} ({places(where)}).",
            fix="Write them all in one way.",
        )
    kind = next(iter(types), "text")
    if kind not in ("text", "integers", "booleans"):
        raise DataError(
            f"The labels in `{name}` are {kind} (first at {ids[0]}).",
            fix="Give one class name or number per row, or choose the task that fits.",
        )
    spelt: list[str | None] = []
    wrong: dict[int, str] = {}
    for index, item in enumerate(values):
        text = None if item is None else (item if isinstance(item, str) else _spelt(item))
        reason = "is missing" if text is None else _wrong_text(text)
        spelt.append(text if reason is None else None)
        if reason is not None:
            wrong[index] = reason
    return pa.chunked_array([pa.array(spelt, pa.string())]), wrong, []


def _named_label(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return "integers"  # how a table with gaps keeps whole numbers
    named = {str: "text", bool: "booleans", int: "integers", float: "fractions", list: "lists"}
    return named.get(type(value), f"of type {type(value).__name__}")
