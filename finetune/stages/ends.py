"""How a launched job ended: of all that its ranks leave behind, the one thing to tell."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from finetune.errors import DistributedError, FinetuneError, Interrupted, TimeIsUp
from finetune.runs import partners, storage
from finetune.runs import roll as rolls
from finetune.runs.folder import RunFolder
from finetune.runs.roll import Roll

ENDS = ("Interrupted", "TimeIsUp")
"""Errors that are none: the job was told to stop, or its time was up."""


def words_of(folder: Path) -> list[dict[str, Any]]:
    """Return what ranks of this machine left for their launcher, the earliest first."""
    read = []
    for file in folder.glob("*.json"):
        with contextlib.suppress(OSError, ValueError):
            read.append(storage.read_json(file))
    return sorted(read, key=lambda record: float(record["at"]))


def found(run: RunFolder, words: Path, codes: Mapping[int, int], began: float) -> FinetuneError:
    """Return the one error that explains why ranks ended.

    Args:
        run: Where ranks leave word for each other.
        words: Where they leave word for the launcher.
        codes: Exit codes by rank, the first failures first; of a killed rank minus its signal.
        began: When the job was launched, in seconds since the epoch.
    """
    records = words_of(words) + [
        record
        for record in Roll(run.path, -1, max(codes, default=0) + 1).told().values()
        if float(record.get("at", 0)) >= began
    ]
    own, lost, echoes, ends = (
        [record for record in records if kind_of(record) == kind]
        for kind in ("own", "DistributedError", "EchoError", "end")
    )
    if own or lost or echoes:
        error = rolls.restored((own + lost + echoes)[0])
        if not own:
            add_signals(error, codes)
        return leave_word(run, error, began)
    unsaid = {*codes} - {int(record["rank"]) for record in ends if "rank" in record}
    died = [rank for rank in codes if rank in unsaid and codes[rank] not in (0, -signal.SIGTERM)]
    if not died:
        return ended(records) or stopped(signal.SIGTERM)
    rank = died[0]
    if codes[rank] < 0:
        why = f"Rank {rank} was killed by {signal_name(-codes[rank])}."
        fix = partners.FIX
    else:
        why = f"Rank {rank} ended with code {codes[rank]} and without an explanation of ours."
        fix = "See what it wrote above."
    return leave_word(run, DistributedError(why, fix=fix), began)


def kind_of(record: Mapping[str, Any]) -> str:
    """Return what a rank's last word is: an error of its own, or one about others, or an end."""
    kind = str(record["kind"])
    if kind in ENDS:
        return "end"
    return kind if kind in ("DistributedError", "EchoError") else "own"


def ended(records: Sequence[Mapping[str, Any]]) -> FinetuneError | None:
    """Return the end of a job that was stopped, or whose time was up, as ranks put it."""
    for record in records:
        if kind_of(record) == "end":
            what = " ".join(str(problem) for problem in record["what"])
            fix = str(record.get("fix", ""))
            code = int(record["code"])
            return Interrupted(code - 128, what, fix=fix) if code else TimeIsUp(what, fix=fix)
    return None


def stopped(number: int) -> FinetuneError:
    """Return the end of a job that was told to stop before ranks could say how far they came."""
    return Interrupted(
        number,
        f"Stopped by {signal_name(number)}.",
        fix="The same command goes on from where it stopped.",
    )


def add_signals(error: FinetuneError, codes: Mapping[int, int]) -> None:
    """Say by which signal ranks died: only the launcher, their parent, knows."""
    for rank, code in codes.items():
        for number, problem in enumerate(error.problems):
            if code < 0 and problem.startswith(f"Rank {rank} died"):
                error.problems[number] = problem.replace(
                    f"Rank {rank} died", f"Rank {rank} was killed by {signal_name(-code)}"
                )


def signal_name(number: int) -> str:
    """Return a signal's name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def leave_word(run: RunFolder, error: FinetuneError, began: float) -> FinetuneError:
    """Write error.json where rank 0, which died, could not; never into another job's folder."""
    with contextlib.suppress(OSError):
        ours = (run.path / rolls.FOLDER).is_dir()
        if ours and not (run.error.is_file() and run.error.stat().st_mtime >= began - 1):
            run.write_error(error)
    return error
