"""One normal form for every character, and none that Unicode forbids."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from finetune.data.cleaning.base import Action, Finding, Step, beyond_ascii

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

SURROGATE = re.compile("[\ud800-\udfff]")
PLANE_ENDS = "".join(chr(plane << 16 | last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
NONCHARACTER = re.compile(f"[\ufdd0-\ufdef{PLANE_ENDS}]")


@dataclass(frozen=True)
class Unicode(Step):
    """Finds texts in another normal form, and code points that are no characters."""

    action: Action = "repair"
    """What to do about it."""
    form: Literal["NFC", "NFKC", "NFD", "NFKD"] = "NFC"
    """The normal form. The K forms also replace `½`, `²` and `ﬁ`, which changes what is said."""

    trouble: ClassVar[str] = "is not in the normal form"

    def candidates(self, texts: pa.Array) -> npt.NDArray[np.bool_]:
        """ASCII is the same in every form."""
        return beyond_ascii(texts)

    def check(self, text: str) -> Finding | None:
        """Count forbidden code points one by one, and a text in another form once."""
        if text.isascii():
            return None
        counts = {}
        fixed = text
        if found := NONCHARACTER.findall(fixed):
            counts["noncharacter"] = len(found)
            fixed = NONCHARACTER.sub("", fixed)
        if found := SURROGATE.findall(fixed):
            counts["surrogate"] = len(found)
            # Two halves that belong together become the character that they are.
            fixed = fixed.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            fixed = NONCHARACTER.sub("", fixed)
        if not unicodedata.is_normalized(self.form, fixed):
            counts[f"not_{self.form.lower()}"] = 1
            fixed = unicodedata.normalize(self.form, fixed)
        return Finding(counts, fixed) if counts else None
