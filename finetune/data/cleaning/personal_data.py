"""Personal data: found, counted by kind, and masked where that is asked for."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from finetune.data.cleaning import presidio
from finetune.data.cleaning.base import Finding, Step, matching
from finetune.data.cleaning.identifiers import spans
from finetune.errors import DataError, did_you_mean

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

KINDS = ("email", "phone", "card", "iban", "ip")
HINT = (
    r"[^\s@]@[^\s@]"  # an address
    r"|[0-9](?:[ ().\-/\x{a0}]{0,3}[0-9]){6}"  # a phone or card number
    r"|[A-Za-z]{2}[0-9]{2}[ -]?[A-Za-z0-9]{4}"  # an IBAN
    r"|[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]"  # an IPv4 address
    r"|[0-9A-Fa-f]:[0-9A-Fa-f]{0,4}:|::[0-9A-Fa-f]"  # an IPv6 address
)
"""What each kind has somewhere, for RE2: most texts have none of it and are not looked at."""


@dataclass(frozen=True)
class PersonalData(Step):
    """Finds e-mail addresses, phone and card numbers, IBANs and IP addresses.

    Repair puts `[EMAIL]`, `[PHONE]` and the like in their place. Names and postal addresses are
    nothing that a pattern can tell: `engine=presidio` looks for those.
    """

    kinds: tuple[str, ...] = KINDS
    """What to look for."""
    region: str | None = None
    """Country of phone numbers without a prefix, by ISO 3166 code; null finds prefixed ones."""
    engine: Literal["builtin", "presidio"] = "builtin"
    """Who looks; presidio needs `pip install finetune[pii]` and finds names and places too."""

    trouble: ClassVar[str] = "has personal data"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "kinds", tuple(self.kinds))
        for kind in self.kinds:
            if kind not in KINDS:
                raise DataError(
                    f"`personal_data.kinds` names `{kind}`{did_you_mean(kind, KINDS)}.",
                    fix=f"Use some of {', '.join(KINDS)}.",
                )
        if self.action == "skip":
            return
        if self.engine == "presidio":
            presidio.analyzer()
        if self.region is not None:
            import phonenumbers

            if self.region not in phonenumbers.SUPPORTED_REGIONS:
                raise DataError(
                    f"`personal_data.region={self.region}` is no country with phone numbers.",
                    fix="Use an ISO 3166 code in capitals, such as DE or US.",
                )

    def candidates(self, texts: pa.Array) -> npt.NDArray[np.bool_]:
        """Most texts have neither an at sign nor seven digits."""
        import numpy as np

        if self.engine == "presidio":
            return np.ones(len(texts), np.bool_)
        return matching(texts, HINT)

    def check(self, text: str) -> Finding | None:
        """Count each place, and mask until nothing is left: a mask may lay bare a neighbour."""
        counts: Counter[str] = Counter()
        fixed = text
        while found := self._spans(fixed):
            counts.update(kind for _, _, kind in found)
            for start, end, kind in reversed(found):
                fixed = f"{fixed[:start]}[{kind.upper()}]{fixed[end:]}"
        return Finding(dict(counts), fixed) if counts else None

    def _spans(self, text: str) -> list[tuple[int, int, str]]:
        if self.engine == "presidio":
            return presidio.spans(text, self.kinds)
        return spans(text, self.kinds, self.region)
