"""Control characters and other remnants that nobody sees: NUL, byte order marks, colour codes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from finetune.data.cleaning.base import Action, Finding, Step, matching

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

CONTROLS = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"
"""All of C0 and C1 but tab, line feed and carriage return."""
REMNANTS = {"byte_order_mark": "\ufeff", "annotation": "\ufff9-\ufffc\u206a-\u206f"}
"""A byte order mark inside a text was the start of a file; annotations need a program to be seen.

Not here: joiners and marks of direction, without which Persian, Hindi, emoji and right-to-left
texts fall apart, and the zero-width space, which parts words in Thai and Khmer.
"""
PARTING = re.compile("\r?[\x0b\x0c\x1c-\x1e\x85]")
TERMINAL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
CONTROL = re.compile(f"[{CONTROLS}]")
REMNANT = {kind: re.compile(f"[{characters}]") for kind, characters in REMNANTS.items()}


@dataclass(frozen=True)
class Control(Step):
    """Finds control characters and removes them; those that part lines or fields become one."""

    action: Action = "repair"
    """What to do about them."""

    trouble: ClassVar[str] = "has control characters"

    def candidates(self, texts: pa.Array) -> npt.NDArray[np.bool_]:
        """One class of characters is all there is to look for."""
        return matching(texts, f"[{CONTROLS}{''.join(REMNANTS.values())}]")

    def check(self, text: str) -> Finding | None:
        """Count every character that has to go."""
        counts = {kind: len(found) for kind, r in REMNANT.items() if (found := r.findall(text))}
        controls = len(CONTROL.findall(text))
        if controls:
            counts["control"] = controls
        if not counts:
            return None
        # Words on both sides of a page break or a field separator must not become one.
        fixed = PARTING.sub("\n", TERMINAL.sub("", text)).replace("\x1f", " ")
        fixed = CONTROL.sub("", fixed)
        for remnant in REMNANT.values():
            fixed = remnant.sub("", fixed)
        return Finding(counts, fixed)
