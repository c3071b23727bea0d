"""Cells that say that there is nothing in them: `N/A`, `null`, `-`, `#REF!`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from finetune.data.cleaning.base import Action, Finding, Step

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

MARKERS = {
    "word": (
        "n/a", "n.a.", "n.a", "n/a.", "#n/a", "na", "nan", "<na>", "null", "<null>", "(null)",
        "none", "<none>", "nil", "nul", "nat", "empty", "<empty>", "(empty)", "blank", "(blank)",
        "missing", "unknown", "undefined", "not available", "not applicable", "not specified",
        "no data", "keine angabe", "k.a.", "k. a.", "sin datos", "s/d", "non disponible", "n/d",
        "n.d.", "tbd", "tba", r"\n",
    ),
    "sign": ("-", "--", "---", "–", "—", "?", "??", "???", ".", "..", "...", "…", "*", "/", "_"),
    "spreadsheet_error": (
        "#ref!", "#value!", "#div/0!", "#name?", "#null!", "#num!", "#spill!", "#calc!",
        "#getting_data", "#wert!", "#bezug!", "#nv", "#zahl!", "#valeur!",
    ),
}  # fmt: skip
"""By kind, in lower case. A marker counts only when it is the whole cell."""
KINDS = {marker: kind for kind, markers in MARKERS.items() for marker in markers}
LONGEST_BYTES = 64
"""Room for the longest marker and some blanks around it; a cell with more is not looked at."""


@dataclass(frozen=True)
class Markers(Step):
    """Finds cells that hold nothing but a mark for a missing value; drop treats them as missing.

    Label columns are better left out: `none` and `unknown` may well be classes.
    """

    action: Action = "report"
    """What to do about them."""

    actions: ClassVar[tuple[Action, ...]] = ("skip", "report", "drop")
    whole: ClassVar[bool] = True
    trouble: ClassVar[str] = "holds a mark for a missing value"

    def candidates(self, texts: pa.Array) -> npt.NDArray[np.bool_]:
        """Only a cell that is as short as a marker is compared."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        short = pc.less_equal(pc.binary_length(texts), LONGEST_BYTES)
        found: npt.NDArray[np.bool_] = short.to_numpy(zero_copy_only=False).copy()
        lowered = pc.utf8_lower(pc.utf8_trim_whitespace(texts.filter(short)))
        known = pa.array(sorted(KINDS), lowered.type)
        found[np.flatnonzero(found)] = pc.is_in(lowered, known).to_numpy(zero_copy_only=False)
        return found

    def check(self, text: str) -> Finding | None:
        """Compare the whole cell, without regard to case and blanks around it."""
        if len(text.encode("utf-8", "replace")) > LONGEST_BYTES:
            return None
        kind = KINDS.get(text.strip().lower())
        return Finding({kind: 1}) if kind else None
