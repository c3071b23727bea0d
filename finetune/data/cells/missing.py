"""Cells that say in words or signs that nothing is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetune.data.cells.encoded import Encoded

if TYPE_CHECKING:
    from finetune.data.cells.encoded import Mask

MARKERS = frozenset(
    [
        *(
            "n/a",
            "n.a.",
            "n.a",
            "n/a.",
            "n / a",
            "#n/a",
            "#na",
            "nan",
            "null",
            "nil",
            "n\\a",
            "\\n",
        ),
        *("-", "--", "---", "\u2013", "\u2014", "?", "??", ".", "..", "...", "\u2026"),
        *("empty", "missing", "not available", "not applicable", "not given", "no data"),
        *("no value", "<na>", "<null>", "<none>", "(null)", "(none)", "(blank)", "[null]"),
        *("#ref!", "#value!", "#div/0!", "#name?", "#null!", "#num!"),
    ]
)
"""What means nothing in every column, compared without case and surrounding space."""

AMBIGUOUS = frozenset(
    ("na", "none", "unknown", "unk", "undefined", "not known", "tbd", "tba", "keine", "ohne")
)
"""What means nothing among numbers and dates, but may be an answer among words: `none`."""


def blank(column: Encoded) -> Mask:
    """Tell which distinct values are nothing but space."""
    import numpy as np
    import pyarrow.compute as pc

    trimmed = pc.utf8_trim_whitespace(column.values)
    return np.asarray(pc.equal(pc.binary_length(trimmed), 0).to_numpy(zero_copy_only=False), bool)


def markers(column: Encoded, *, among_words: bool) -> Mask:
    """Tell which distinct values are markers of a missing value.

    Args:
        column: Any column.
        among_words: The column holds words, of which some markers may be one.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    known = MARKERS if among_words else MARKERS | AMBIGUOUS
    plain = pc.utf8_lower(pc.utf8_trim_whitespace(column.values))
    found = pc.is_in(plain, value_set=pa.array(sorted(known)))
    return np.asarray(found.to_numpy(zero_copy_only=False), bool)
