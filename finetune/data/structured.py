"""Values that are more than one text: numbers, lists of names, words with tags, answers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from finetune.data.values import Checked

SEPARATORS = ("|", ";", ",")
"""What people put between the labels of one cell, least ambiguous first."""


def score_values(column: Any) -> Checked:
    """Check a column of numbers, written as numbers or as their spelling."""
    import pyarrow as pa

    values: list[float | None] = []
    wrong: dict[int, str] = {}
    for index, value in enumerate(_listed(column)):
        number, reason = _number(value)
        values.append(number)
        if reason:
            wrong[index] = reason
    return pa.chunked_array([pa.array(values, pa.float64())]), wrong, []


def _number(value: Any) -> tuple[float | None, str]:
    if value is None or value == "":
        return None, "is missing"
    if isinstance(value, bool):
        return None, "is a boolean instead of a number"
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None, "is not a number"
    return (number, "") if math.isfinite(number) else (None, "is not finite")


def names_values(column: Any, name: str, *, may_be_empty: bool) -> Checked:
    """Check a column of lists of names; a cell of a table is cut at its separator.

    Args:
        column: Lists of text or numbers, JSON spellings of such, or cells such as ``a|b``.
        name: What the column is called.
        may_be_empty: Whether an empty list is a value.
    """
    import pyarrow as pa

    listed = _listed(column)
    separator = _separator(listed)
    said = [f"`{name}` is cut at {separator!r} into a list."] if separator else []
    values: list[list[str] | None] = []
    wrong: dict[int, str] = {}
    for index, value in enumerate(listed):
        names, reason = _names(value, separator)
        if not reason and not names and not may_be_empty:
            reason = "is empty"
        values.append(None if reason else names)
        if reason:
            wrong[index] = reason
    return pa.chunked_array([pa.array(values, pa.list_(pa.string()))]), wrong, said


def _separator(values: Sequence[Any]) -> str | None:
    """Return what separates the names in cells of text, if any cell has several."""
    texts = [value for value in values if isinstance(value, str) and not _is_json(value)]
    return next((mark for mark in SEPARATORS if any(mark in text for text in texts)), None)


def _is_json(text: str) -> bool:
    return text.lstrip().startswith("[") and text.rstrip().endswith("]")


def _names(value: Any, separator: str | None) -> tuple[list[str], str]:
    if isinstance(value, str) and _is_json(value):
        try:
            # A list as Python spells it, which is what pandas writes into a csv.
            value = json.loads(value.replace("'", '"') if '"' not in value else value)
        except ValueError:
            return [], "is text that is not a JSON list"
    if value is None:
        return [], "is missing"
    if isinstance(value, str):
        parts = value.split(separator) if separator else [value]
        return [part.strip() for part in parts if part.strip()], ""
    if not isinstance(value, Sequence):
        return [], "is not a list"
    if any(isinstance(item, Mapping | list) or item is None for item in value):
        return [], "is a list of something else than names"
    names = [str(item) for item in value]
    try:
        "".join(names).encode()
    except UnicodeEncodeError:
        return [], "has characters that are not valid Unicode (lone surrogates)"
    return names, ""


def answers_type() -> Any:
    """Return the Arrow type of `Answers`."""
    import pyarrow as pa

    return pa.struct(
        [("text", pa.list_(pa.string())), ("answer_start", pa.list_(pa.int64()))]
    )  # fmt: skip


def answers_values(column: Any) -> Checked:
    """Check a column of answers: SQuAD's shape, a list of ``{text, answer_start}``, or a text."""
    import pyarrow as pa

    values: list[dict[str, list[Any]] | None] = []
    wrong: dict[int, str] = {}
    for index, value in enumerate(_listed(column)):
        answers, reason = _answers(value)
        values.append(answers)
        if reason:
            wrong[index] = reason
    return pa.chunked_array([pa.array(values, answers_type())]), wrong, []


def _answers(value: Any) -> tuple[dict[str, list[Any]] | None, str]:
    if isinstance(value, str) and value.lstrip().startswith(("{", "[")):
        try:
            value = json.loads(value)
        except ValueError:
            return None, "is text that is not JSON"
    if value is None:
        return None, "is missing"
    if isinstance(value, str):
        return {"text": [value], "answer_start": [-1]}, ""
    if isinstance(value, Mapping):
        texts, starts = value.get("text"), value.get("answer_start")
        texts = [texts] if isinstance(texts, str) else texts
        starts = [starts] if isinstance(starts, int) else starts
        if texts is None:
            return None, "has no `text`"
        starts = [-1] * len(texts) if starts is None else starts
        if len(starts) != len(texts):
            return None, "has not as many starts as texts"
        return {"text": [str(text) for text in texts], "answer_start": list(starts)}, ""
    if isinstance(value, Sequence) and all(isinstance(item, Mapping) for item in value):
        texts = [str(item.get("text", "")) for item in value]
        starts = [item.get("answer_start", -1) for item in value]
        return {"text": texts, "answer_start": starts}, ""
    return None, "is no answer"


def _listed(column: Any) -> list[Any]:
    return column if isinstance(column, list) else list(column.to_pylist())


def together(tables: Mapping[str, Any], first: str, second: str) -> dict[int, str]:
    """Return the rows in which two lists that belong together have not the same length.

    Args:
        tables: Columns by name.
        first: Such as the words.
        second: Such as their tags.
    """
    import numpy as np
    import pyarrow.compute as pc

    lengths = [
        pc.fill_null(pc.list_value_length(tables[name]), -1).to_numpy() for name in (first, second)
    ]
    differ = np.flatnonzero((lengths[0] != lengths[1]) & (lengths[0] >= 0) & (lengths[1] >= 0))
    return {
        int(row): f"has {lengths[1][row]} names for {lengths[0][row]} of `{first}`"
        for row in differ
    }
