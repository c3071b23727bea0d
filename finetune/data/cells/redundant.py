"""Columns that say nothing more than another one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from finetune.data.cells.profile import Profile


def same(profiles: Sequence[Profile]) -> dict[str, str]:
    """Name the columns that repeat an earlier one value by value, each with the earlier one."""
    import numpy as np

    found: dict[str, str] = {}
    first: dict[tuple[int, int], list[Profile]] = {}
    for one in profiles:
        column = one.column
        if one.distinct < 2:
            continue
        # Values are numbered by first appearance, so that equal columns have equal codes.
        for other in first.setdefault((len(column.values), one.distinct), []):
            if np.array_equal(column.codes, other.column.codes) and column.values.equals(
                other.column.values
            ):
                found[column.name] = other.column.name
                break
        else:
            first[len(column.values), one.distinct].append(one)
    return found
