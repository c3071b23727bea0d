"""Runs of blanks, blanks at the ends, and blanks that only look like one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from finetune.data.cleaning.base import Action, Finding, Step, matching

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

ODD = "\u00a0\u1680\u2000-\u200a\u202f\u205f"
"""Blanks of other widths. Not U+3000, which is the blank of Chinese and Japanese."""
ODD_BLANK = re.compile(f"[{ODD}]")
LINE_ENDING = re.compile("\r\n?|[\u2028\u2029]")
TRAILING = re.compile(r"(?<![ \t\u3000])[ \t\u3000]+(?=\n)")
INNER = re.compile(r"(?<![\s])[ \t\u3000]{2,}(?=\S)")
EMPTY_LINES = re.compile(r"\n{3,}")


@dataclass(frozen=True)
class Whitespace(Step):
    """Finds needless blanks; lines, paragraphs and the indentation of code stay."""

    action: Action = "report"
    """What to do about them."""

    trouble: ClassVar[str] = "has needless blanks"

    def candidates(self, texts: pa.Array) -> npt.NDArray[np.bool_]:
        """Most texts have single blanks only."""
        blank = r"[ \t\n\x0b\x0c\r\x1c-\x1f\x85\x{3000}]"
        return matching(texts, rf"(?m)[{ODD}\x{{2028}}\x{{2029}}\r]|^{blank}|{blank}$|{blank}{{2}}")

    def check(self, text: str) -> Finding | None:
        """Count each kind of trouble once for a text."""
        counts = {}
        fixed = ODD_BLANK.sub(" ", text)
        if fixed != text:
            counts["odd_blank"] = 1
        lines = LINE_ENDING.sub("\n", fixed)
        if lines != fixed:
            counts["line_ending"] = 1
        stripped = lines.strip()
        if stripped != lines:
            counts["edge"] = 1
        fixed = EMPTY_LINES.sub("\n\n", INNER.sub(" ", TRAILING.sub("", stripped)))
        if fixed != stripped:
            counts["run"] = 1
        return Finding(counts, fixed) if counts else None
