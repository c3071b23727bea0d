"""Texts in another language than those to keep, as py3langid judges them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

from finetune.data.cleaning.base import Action, Finding, Step
from finetune.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

JUDGED_CHARS = 2000
"""A language shows in the first lines; long texts would take their time."""


@dataclass(frozen=True)
class Language(Step):
    """Finds texts that are surely in a language that is not to be kept."""

    action: Action = "skip"
    """What to do about them."""
    keep: tuple[str, ...] = ()
    """Languages to keep, by ISO 639-1 code; each other one is counted under its code."""
    min_confidence: float = 0.8
    """Probability from which a text counts as of another language."""
    min_chars: int = 20
    """Shorter texts are not judged."""

    actions: ClassVar[tuple[Action, ...]] = ("skip", "report", "drop")
    trouble: ClassVar[str] = "is in another language"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "keep", tuple(self.keep))
        if self.action == "skip":
            return
        known = sorted(_identifier().labels)
        unknown = [language for language in self.keep if language not in known]
        if unknown or not self.keep:
            raise DataError(
                f"`language.keep` names {', '.join(f'`{item}`' for item in unknown)}, which is not "
                "known."
                if unknown
                else "`language.keep` is empty, so every text would be in another language.",
                fix=f"Use codes of these: {' '.join(known)}.",
            )

    def candidates(self, texts: pa.Array) -> npt.NDArray[np.bool_]:
        """Short texts are a matter of luck."""
        import pyarrow.compute as pc

        lengths = pc.utf8_length(texts).to_numpy(zero_copy_only=False)
        found: npt.NDArray[np.bool_] = lengths >= self.min_chars
        return found

    def check(self, text: str) -> Finding | None:
        """Ask which language it is, and how sure that is."""
        if len(text) < self.min_chars:
            return None
        # Lone surrogates have no UTF-8 to judge.
        judged = text[:JUDGED_CHARS].encode("utf-8", "ignore")
        language, confidence = _identifier().classify(judged)
        if language in self.keep or confidence < self.min_confidence:
            return None
        return Finding({str(language): 1})


@lru_cache(maxsize=1)
def _identifier() -> Any:
    """Load the model once in a process: it takes longer than a thousand texts."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
