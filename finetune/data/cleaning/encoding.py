"""Text that was decoded with the wrong encoding: found and put right by ftfy, line by line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from finetune.data.cleaning.base import Action, Finding, Step, beyond_ascii
from finetune.data.cleaning.macintosh import undone

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

LOST = "\ufffd"
"""What a decoder puts in the place of bytes that it could not read."""


@dataclass(frozen=True)
class Encoding(Step):
    """Finds mojibake such as `Ã¼` for `ü`, and places where a character was lost for good."""

    action: Action = "repair"
    """What to do about it. Lost characters are only counted: nobody knows what they were."""

    trouble: ClassVar[str] = "was decoded with the wrong encoding"

    def candidates(self, texts: pa.Array) -> npt.NDArray[np.bool_]:
        """ASCII survives nearly every wrong encoding unharmed."""
        return beyond_ascii(texts)

    def check(self, text: str) -> Finding | None:
        """Count a text once, however much of it is wrong."""
        if text.isascii():
            return None
        fixed = "\n".join(_fixed(line) for line in text.split("\n"))
        counts = {}
        if fixed != text:
            counts["mojibake"] = 1
        if LOST in fixed:
            counts["lost_character"] = 1
        return Finding(counts, fixed if fixed != text else None) if counts else None


def _fixed(line: str) -> str:
    """Return a line put right: one of them may be fine, or wrong in another way than the next."""
    if line.isascii():
        return line
    import ftfy

    # The narrower rule first: to ftfy `Ì¼` is the UTF-8 of a mark that nobody types.
    fixed = undone(line)
    again: str = ftfy.fix_encoding(fixed)
    # What one repair brings to light may need the other; each makes the line shorter or settles.
    while again != fixed:
        fixed = undone(again)
        again = ftfy.fix_encoding(fixed)
    return fixed
