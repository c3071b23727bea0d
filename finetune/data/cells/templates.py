"""Columns that are written out of two others, such as `al_hf-1` out of `al` and `hf-1`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from finetune.data.cells.encoded import Encoded

if TYPE_CHECKING:
    from finetune.data.cells.encoded import Codes, Mask

LEAST_SHARE = 0.85
"""Share of the rows that must be written this way, each part having errors of its own."""
PROBE_ROWS = 400


def written_out(target: Encoded, others: Sequence[Encoded]) -> Mask | None:
    """Tell which rows of a column are exactly two others of the same row joined by a separator.

    No slip makes a cell agree with two others letter by letter, so such a cell is right however
    rare it is.

    Returns:
        The rows; None when no two columns make up this one.
    """
    import numpy as np

    rows = len(target.codes)
    probe = np.unique(np.linspace(0, rows - 1, min(PROBE_ROWS, rows)).astype(np.int64))
    texts = _texts(target, probe)
    filled = sum(text is not None for text in texts)
    if filled < 10:
        return None
    cells = {other.name: _texts(other, probe) for other in others}
    heads = [name for name in cells if _share(texts, cells[name], str.startswith) >= LEAST_SHARE]
    tails = [name for name in cells if _share(texts, cells[name], str.endswith) >= LEAST_SHARE]
    found: Mask | None = None
    for head in heads:
        for tail in tails:
            separators = Counter(
                text[len(first) : len(text) - len(second)]
                for text, first, second in zip(texts, cells[head], cells[tail], strict=True)
                if text and first and second and len(first) + len(second) <= len(text)
            )
            separator, count = separators.most_common(1)[0] if separators else ("", 0)
            if head == tail or count < LEAST_SHARE * filled:
                continue
            named = {other.name: other for other in others}
            exact = _exact(target, named[head], named[tail], separator)
            found = exact if found is None else found | exact
    return found


def _texts(column: Encoded, rows: Codes) -> list[str | None]:
    codes = column.codes[rows]
    found: list[str | None] = [None if code < 0 else column.values[code].as_py() for code in codes]
    return found


def _share(
    texts: list[str | None], parts: list[str | None], holds: Callable[[str, str], bool]
) -> float:
    pairs = [
        (text, part)
        for text, part in zip(texts, parts, strict=True)
        if text and part and len(part) > 1 and len(part) < len(text)
    ]
    return sum(holds(text, part) for text, part in pairs) / max(1, len(texts))


def _exact(target: Encoded, head: Encoded, tail: Encoded, separator: str) -> Mask:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    def taken(column: Encoded) -> object:
        return column.values.take(pa.array(column.codes, mask=column.codes < 0))

    written = pc.binary_join_element_wise(taken(head), taken(tail), separator)
    same = pc.fill_null(pc.equal(written, taken(target)), False)
    return np.asarray(same.to_numpy(zero_copy_only=False), bool)
