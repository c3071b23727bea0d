"""The attempts at one run: what each ran on and with, and whether they can give the same bits."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from finetune.errors import ArtefactError, FinetuneError, StorageError

if TYPE_CHECKING:
    from finetune.runs.folder import RunFolder

COMPARED = ("world_size", "device", "precision", "threads", "processor")
"""Facts of an attempt, beside its versions, on which the last bits of a result depend."""

LONGEST = 400
"""Characters of the sentence on how an attempt ended."""


def begin(run: RunFolder, facts: Mapping[str, Any]) -> str | None:
    """Add an attempt to the manifest.

    Args:
        run: The run.
        facts: started_at, command, versions, and what `COMPARED` names.

    Returns:
        A sentence when training goes on under other conditions than the attempt before.
    """
    attempts = list(run.manifest().get("attempts") or [])
    differences = unlike(attempts[-1], facts) if attempts else []
    run.record(attempts=[*attempts, dict(facts)])
    if not differences or run.is_done("train") or not run.has_trained():
        return None
    return f"not bit-identical to the uninterrupted run: {', '.join(differences)}"


def note(run: RunFolder, **facts: Any) -> None:
    """Set facts of the present attempt, such as `resumed_from`."""
    attempts = list(run.manifest().get("attempts") or [{}])
    attempts[-1] = {**attempts[-1], **facts}
    run.record(attempts=attempts)


def count(run: RunFolder) -> int:
    """Return how many attempts were begun."""
    return len(run.manifest().get("attempts") or [])


def end(run: RunFolder, before: int, error: BaseException | None) -> None:
    """Write down how the present attempt ended; a killed one leaves this out.

    That it cannot be written is not told over the error that ended the attempt.

    Args:
        run: The run.
        before: How many attempts there were before this one; one that never began has no end.
        error: What ended it; None where it did what was asked.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    with contextlib.suppress(ArtefactError, OSError, StorageError):
        if count(run) > before:
            code = 0 if error is None else getattr(error, "exit_code", 1)
            note(run, ended={"at": now, "code": code, "why": reason(run, error)})


def reason(run: RunFolder, error: BaseException | None) -> str:
    """Return one line on what ended an attempt, without the place of the run folder."""
    if error is None:
        return "done"
    if not isinstance(error, FinetuneError):
        return f"An unexpected {type(error).__name__}."
    text = " ".join(" ".join(error.problems).split())
    return text.replace(str(run.path), run.path.name)[:LONGEST]


def unlike(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return what differs between two attempts, such as ``torch 2.13.0 → 2.14.0``."""
    before, after = old.get("versions") or {}, new.get("versions") or {}
    pairs = [(name, before.get(name), after.get(name)) for name in sorted({*before, *after})]
    pairs += [(name, old.get(name), new.get(name)) for name in COMPARED]
    return [
        f"{name.replace('_', ' ')} {was or 'none'} → {now or 'none'}"
        for name, was, now in pairs
        if was != now
    ]
