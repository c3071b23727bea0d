"""The error tree: every failure a user can meet, with its exit code.

FinetuneError
├── ConfigError        2   configuration or usage
├── DataError          3   data
├── ArtefactError      4   a model, adapter or file was refused: unsafe, corrupt, mismatched
├── NumericsError      5   non-finite numbers, or out of memory
├── StorageError       6   disk full, read-only, not permitted
├── LockedError        7   another process works on this run folder
├── HubError           8   hub or network
├── DistributedError   9   a rank died or hung
├── GateError         10   merge parity, goal or promotion failed
├── Interrupted      130   SIGINT, or 143 for SIGTERM; raised after a valid checkpoint
└── TimeIsUp           0   the time budget is used up; raised after a valid checkpoint
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class FinetuneError(Exception):
    """A failure that is explained to the user in sentences, without a traceback.

    Args:
        problems: What is wrong and what was received: one sentence, or several when several
            things are wrong at once.
        fix: What to do about it, one sentence.
        where: The file, key or row the problem is in, when there is one.
    """

    exit_code = 1

    def __init__(self, problems: str | Sequence[str], *, fix: str = "", where: str = "") -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        self.fix = fix
        self.where = where
        super().__init__(" ".join([*self.problems, fix] if fix else self.problems))


class ConfigError(FinetuneError):
    """The configuration or the command line is wrong."""

    exit_code = 2


class DataError(FinetuneError):
    """The data cannot be used as asked."""

    exit_code = 3


class ArtefactError(FinetuneError):
    """A model, an adapter or a configuration was refused: unsafe, corrupt or mismatched."""

    exit_code = 4


class NumericsError(FinetuneError):
    """A loss or a gradient is not finite, or memory ran out."""

    exit_code = 5


class StorageError(FinetuneError):
    """The disk is full, read-only or not permitted."""

    exit_code = 6


class LockedError(FinetuneError):
    """Another process works on the same run folder."""

    exit_code = 7


class HubError(FinetuneError):
    """The hub or the network cannot be reached, or what was asked for is not there."""

    exit_code = 8


class DistributedError(FinetuneError):
    """A rank died, hung, or disagreed with the others."""

    exit_code = 9


class GateError(FinetuneError):
    """A gate failed: merge parity, the goal of the run, or a promotion."""

    exit_code = 10


class Interrupted(FinetuneError):
    """The run was stopped by a signal, after it had saved what was done."""

    def __init__(self, signal_number: int, problems: str, *, fix: str = "") -> None:
        super().__init__(problems, fix=fix)
        self.exit_code = 128 + signal_number


class TimeIsUp(Interrupted):
    """The run has used its time and saved what was done; the same command goes on."""

    exit_code = 0

    def __init__(self, problems: str, *, fix: str = "") -> None:
        super().__init__(0, problems, fix=fix)
        self.exit_code = 0


CLEAR = 0.15
"""How much less alike than the best a name may be and still be offered beside it."""


def nearest(name: str, known: Iterable[str], *, count: int = 3, cutoff: float = 0.6) -> list[str]:
    """Return the known names closest to a misspelt one, best first, ignoring case.

    Args:
        name: What was written.
        known: What exists.
        count: How many to return at most.
        cutoff: How alike they must be, from 0 to 1.
    """
    by_lower = {str(item).lower(): str(item) for item in known}
    close = difflib.get_close_matches(name.lower(), list(by_lower), n=count, cutoff=cutoff)
    likeness = [difflib.SequenceMatcher(None, item, name.lower()).ratio() for item in close]
    # A clear winner stands alone: `max_stps` is `max_steps`, not `eval_steps`.
    return [
        by_lower[item]
        for item, like in zip(close, likeness, strict=True)
        if like > likeness[0] - CLEAR
    ]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``", did you mean `x` or `y`?"`` for a misspelt name, or an empty string."""
    close = nearest(name, known)
    return f", did you mean {' or '.join(f'`{item}`' for item in close)}?" if close else ""
