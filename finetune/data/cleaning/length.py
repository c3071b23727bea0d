"""Texts that are too short or too long to be meant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from finetune.data.cleaning.base import Action, Finding, Step
from finetune.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa


@dataclass(frozen=True)
class Length(Step):
    """Finds texts outside bounds; blanks at the ends don't count."""

    action: Action = "skip"
    """What to do about them."""
    min_chars: int = 1
    """Fewest characters."""
    max_chars: int | None = None
    """Most characters."""
    min_words: int = 0
    """Fewest words, parted by blanks: of no use for scripts that have none."""

    actions: ClassVar[tuple[Action, ...]] = ("skip", "report", "drop")
    whole: ClassVar[bool] = True
    trouble: ClassVar[str] = "is too short or too long"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_chars is not None and self.max_chars < self.min_chars:
            raise DataError(
                f"`length.max_chars={self.max_chars}` is below `min_chars={self.min_chars}`.",
                fix="Raise max_chars or lower min_chars.",
            )

    def candidates(self, texts: pa.Array) -> npt.NDArray[np.bool_]:
        """Lengths are quick to compare; words are counted only where they are asked for."""
        import numpy as np
        import pyarrow.compute as pc

        if self.min_words:
            return np.ones(len(texts), np.bool_)
        lengths = pc.utf8_length(pc.utf8_trim_whitespace(texts)).to_numpy(zero_copy_only=False)
        found: npt.NDArray[np.bool_] = lengths < self.min_chars
        return found if self.max_chars is None else found | (lengths > self.max_chars)

    def check(self, text: str) -> Finding | None:
        """Name the first bound that is broken."""
        length = len(text.strip())
        if length < self.min_chars or (self.min_words and len(text.split()) < self.min_words):
            return Finding({"too_short": 1})
        if self.max_chars is not None and length > self.max_chars:
            return Finding({"too_long": 1})
        return None
