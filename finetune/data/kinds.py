"""Kinds of canonical columns: what a task asks for, without saying how users store it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

TARGET_NAMES = frozenset({"target", "completion", "answers", "tags", "score", "chosen", "rejected"})
"""Names of columns that a model is to produce, where a kind leaves that open."""


@dataclass(frozen=True)
class Kind:
    """A canonical column.

    Args:
        required: Whether a data set without this column, or a row without a value, is refused.
        target: Whether the model is to produce this column rather than to read it; None derives
            it from the column's name and its neighbours. Two rows with the same inputs are the
            same question, whatever their targets.
    """

    required: bool = True
    target: bool | None = None


@dataclass(frozen=True)
class Text(Kind):
    """A string that is not blank."""


@dataclass(frozen=True)
class Label(Kind):
    """One class name; numbers and booleans become their spelling."""

    target: bool | None = True


@dataclass(frozen=True)
class Labels(Kind):
    """Any number of class names, none among them."""

    target: bool | None = True


@dataclass(frozen=True)
class Score(Kind):
    """One finite number."""

    target: bool | None = True


@dataclass(frozen=True)
class Tokens(Kind):
    """A list of words; not empty."""


@dataclass(frozen=True)
class Tags(Kind):
    """A list of class names, one for each word."""

    target: bool | None = True


@dataclass(frozen=True)
class Answers(Kind):
    """Answers found in a context: ``{text, answer_start}``, a list each; empty for no answer."""

    target: bool | None = True


@dataclass(frozen=True)
class Messages(Kind):
    """A conversation: a list of ``{role, content}`` that ends with the assistant's turn."""


@dataclass(frozen=True)
class Turns(Kind):
    """Part of a conversation: a list of ``{role, content}``, or the text of its only turn."""


@dataclass(frozen=True)
class Image(Kind):
    """An encoded picture: ``{bytes, path}``."""


@dataclass(frozen=True)
class Audio(Kind):
    """An encoded recording: ``{bytes, path}``."""


MEDIA = (Image, Audio)


def is_target(name: str, kinds: Mapping[str, Kind]) -> bool:
    """Tell whether a column is what the model is to produce."""
    kind = kinds[name]
    if kind.target is not None:
        return kind.target
    if name in TARGET_NAMES:
        return True
    beside_media = any(isinstance(other, MEDIA) for other in kinds.values())
    return isinstance(kind, Text) and beside_media


def input_columns(kinds: Mapping[str, Kind]) -> list[str]:
    """Return the columns that make two rows the same question."""
    return [name for name in kinds if not is_target(name, kinds)] or list(kinds)


def label_column(kinds: Mapping[str, Kind]) -> str | None:
    """Return the name of the label column, if the task has one."""
    return next((name for name, kind in kinds.items() if isinstance(kind, Label)), None)
