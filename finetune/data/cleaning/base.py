"""What a cleaning step is: options, a quick look at many texts, and a finding for one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from finetune.errors import DataError, did_you_mean

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

Action = Literal["skip", "report", "repair", "drop"]
"""Do not look; count; put right; leave the row out."""

ORDER = (
    "html",
    "encoding",
    "control",
    "unicode",
    "whitespace",
    "markers",
    "length",
    "language",
    "personal_data",
)
"""The steps in the order in which they run; each name is the name of its file.

What one step brings to light, a later one puts right: an entity may stand for a control character,
a repaired encoding for a byte order mark, and what compatibility forms leave may be a blank. What
judges a text sees the repaired one. Personal data comes last: a mask is no text to judge.
"""


@dataclass(frozen=True)
class Finding:
    """What a step found in one text.

    Args:
        counts: Kind → how often. Never empty.
        repaired: The text put right; None when the step cannot.
    """

    counts: Mapping[str, int]
    repaired: str | None = None


@dataclass(frozen=True)
class Step(ABC):
    """One kind of trouble, found in one text at a time.

    A step keeps nothing from one text to the next, and repairing twice is repairing once.
    """

    action: Action = "report"
    """What to do about it."""

    actions: ClassVar[tuple[Action, ...]] = ("skip", "report", "repair", "drop")
    """What can be done about it."""
    whole: ClassVar[bool] = False
    """Whether a list or a conversation is judged by all that it says, rather than text by text."""
    trouble: ClassVar[str] = ""
    """What the quarantine says of a row that was changed or dropped."""

    def __post_init__(self) -> None:
        if self.action not in self.actions:
            raise DataError(
                f"The cleaning step `{self.name}` cannot `{self.action}`.",
                fix=f"Use {', '.join(self.actions[:-1])} or {self.actions[-1]}.",
            )

    @property
    def name(self) -> str:
        """The name by which options, audit and quarantine call the step: that of its file."""
        return type(self).__module__.rpartition(".")[2]

    @abstractmethod
    def candidates(self, texts: pa.Array) -> npt.NDArray[np.bool_]:
        """Tell quickly which of many texts are worth a closer look.

        Args:
            texts: Strings, none of them null.

        Returns:
            Shape (texts,). False promises that `check` finds nothing.
        """

    @abstractmethod
    def check(self, text: str) -> Finding | None:
        """Look at one text; None when nothing is wrong with it."""


def find(name: str) -> type[Step]:
    """Return the class of a step by its name.

    Raises:
        DataError: There is no such step.
    """
    if name not in ORDER:
        raise DataError(
            f"There is no cleaning step `{name}`{did_you_mean(name, ORDER)}.",
            fix=f"The steps are {', '.join(ORDER)}.",
        )
    module = import_module(f"finetune.data.cleaning.{name}")
    found: type[Step] = getattr(module, name.title().replace("_", ""))
    return found


def build(options: Mapping[str, Mapping[str, Any]]) -> list[Step]:
    """Return the steps that options name, in the order in which they run.

    Args:
        options: Step → its options. Steps that aren't named don't run, and names that are not of
            this package are left to those whose steps they are.
    """
    return [find(name)(**options[name]) for name in ORDER if name in options]


def matching(texts: pa.Array, pattern: str) -> npt.NDArray[np.bool_]:
    """Tell which texts a regular expression (RE2) occurs in, at the speed of Arrow."""
    import pyarrow.compute as pc

    found: npt.NDArray[np.bool_] = pc.match_substring_regex(texts, pattern).to_numpy(
        zero_copy_only=False
    )
    return found


def beyond_ascii(texts: pa.Array) -> npt.NDArray[np.bool_]:
    """Tell which texts have a character that is not ASCII."""
    import pyarrow.compute as pc

    found: npt.NDArray[np.bool_] = ~pc.string_is_ascii(texts).to_numpy(zero_copy_only=False)
    return found
