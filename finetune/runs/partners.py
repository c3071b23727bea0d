"""What one rank makes of another's end: it says which rank died, hangs or failed, and ends too."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from finetune.errors import DistributedError, FinetuneError, Interrupted
from finetune.runs import roll as rolls
from finetune.runs.folder import RunFolder
from finetune.runs.roll import EchoError, Roll

NOTICE_SECONDS = 2.0
"""How long a rank waits for the others to notice what it has noticed."""
WATCH_SECONDS = 0.5
MEET_SECONDS = 300.0
"""Ranks may take at least this long to load, however short the time-out of training is."""
GRACE_SECONDS = 4.0
"""How long a rank may go on after another's end before it is ended where it stands."""
TIMED_OUT = re.compile(r"timed?[ -]?out|timeout", re.IGNORECASE)
CONNECTION = re.compile(
    r"connection (closed|reset|refused)|broken pipe|gloo|nccl|process group|tcpstore|socket",
    re.IGNORECASE,
)
FIX = "The same command goes on from the newest checkpoint."

_watched: set[Path] = set()


def is_of_partners(error: BaseException) -> bool:
    """Tell whether an exchange between ranks failed, as torch and its transports put it."""
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & {"DistError", "DistBackendError", "DistNetworkError", "DistStoreError"}:
        return True
    return isinstance(error, RuntimeError) and bool(
        CONNECTION.search(str(error)) or re.search(r"waiting \d+ms", str(error))
    )


@contextlib.contextmanager
def explained(
    run: RunFolder | Path,
    rank: int,
    world: int,
    step: Callable[[], int] | int | None = None,
    *,
    timeout: float | None = None,
) -> Iterator[None]:
    """Let what happens to one rank in the block end all ranks, with one explanation.

    Args:
        run: The run, or its folder, which all ranks see.
        rank: This process's rank.
        world: How many ranks there are; with one, nothing is done.
        step: The last finished step, or what returns it; None before training.
        timeout: Seconds that ranks wait for each other; only said.

    Raises:
        DistributedError: Another rank died or hangs, and it is for this one to say so.
        EchoError: Another rank has said what is wrong.
    """
    if world == 1:
        yield
        return
    folder = run.path if isinstance(run, RunFolder) else run
    roll = Roll(folder, rank, world)
    entered = not roll.is_on()
    if entered:
        roll.enter()

    def now() -> int | None:
        return step() if callable(step) else step

    try:
        with watching(roll, now, timeout):
            yield
    except Interrupted:
        raise
    except Exception as error:
        let_finish()
        found = explanation(roll, error, now(), timeout)
        publish(roll, found, now())
        if found is error:
            raise
        raise found from error
    finally:
        if entered:
            roll.leave()


def meet(run: RunFolder | Path, rank: int, world: int, *, timeout: float) -> None:
    """Wait for all ranks to have loaded what they train with, before they make their group.

    Ranks take different times to get there, which must not count as hanging.

    Raises:
        DistributedError: A rank died on the way, or didn't arrive.
        EchoError: Another rank failed, and says so itself.
    """
    if world == 1:
        return
    roll = Roll(run.path if isinstance(run, RunFolder) else run, rank, world)
    if not roll.is_on():
        roll.enter()
    roll.arrive()
    deadline = time.monotonic() + max(timeout, MEET_SECONDS)
    while missing := roll.missing():
        if roll.told() or roll.gone():
            raise diagnosis(roll, False, None, timeout)
        if time.monotonic() > deadline:
            raise DistributedError(
                f"{named(missing)} did not begin to train within {max(timeout, MEET_SECONDS):g} s.",
                fix="See what it says where it runs; where loading takes that long, "
                "raise train.dist_timeout.",
            )
        time.sleep(0.1)


def publish(roll: Roll, error: FinetuneError, step: int | None) -> bool:
    """Say why this rank ends, at once: what ends it may come before the command line says it.

    Returns:
        Whether `finetune launch` is there to show it.
    """
    roll.tell(error, step)
    if roll.rank == 0:
        RunFolder(roll.folder.parent).write_error(error)
    return rolls.to_launcher(error)


def let_finish() -> None:
    """Keep the launcher's SIGTERM, sent because a rank has ended, from cutting this one short."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def explanation(
    roll: Roll, error: Exception, step: int | None, timeout: float | None
) -> FinetuneError:
    """Return what to say of a failure in a job of several ranks."""
    if isinstance(error, (EchoError, DistributedError)):
        return error
    if is_of_partners(error):
        return diagnosis(roll, bool(TIMED_OUT.search(str(error))), step, timeout)
    place = f"[rank {roll.rank}{at(step)}]"
    if isinstance(error, FinetuneError):
        if place not in error.problems[0]:
            error.problems[0] = f"{error.problems[0]} {place}"
        return error
    text = " ".join(str(error).split())[:500]
    return FinetuneError(
        f"An unexpected {type(error).__name__}: {text} {place}",
        fix="Give the same command with --debug and report the traceback.",
    )


def at(step: int | None) -> str:
    """Return when something happened, for a sentence."""
    return "" if step is None else f" after step {step}"


def diagnosis(
    roll: Roll, timed_out: bool, step: int | None, timeout: float | None
) -> FinetuneError:
    """Find the rank because of which an exchange failed, end it if it hangs, and name it.

    A rank that fails says why before its connections close; one that died is missing among the
    processes; one that hangs is the only one that does not notice that the others have given up.
    """
    roll.notice()
    entries, deadline = roll.entries(), time.monotonic() + NOTICE_SECONDS
    culprits: list[int] = []
    while time.monotonic() < deadline:
        told = roll.told()
        if told:
            return rolls.restored(next(iter(told.values())), EchoError)
        culprits = culprits or roll.gone()
        if culprits and roll.rank == min(set(range(roll.world)) - set(culprits)):
            break
        time.sleep(0.05)
    else:
        culprits = culprits or roll.silent()
    died = [rank for rank in culprits if rolls.is_gone(entries.get(rank, {}))]
    hung = [rank for rank in culprits if rank not in died]
    problems = []
    if died:
        problems.append(f"{named(died)} died{at(step)}.")
    for rank in hung:
        ended = timed_out and rolls.kill(entries.get(rank, {}))
        problems.append(
            f"{named([rank])} {'has hung' if timed_out else 'is no longer reached'}{at(step)}"
            f"{f': it did not answer for {timeout:g} s' if timed_out and timeout else ''}"
            f"{'; it was ended' if ended else ''}."
        )
    fix = FIX
    if hung and timed_out:
        fix += " Where ranks may really take that long, raise train.dist_timeout."
    elif died:
        fix += " A rank that dies without a word has often used up the machine's memory."
    return DistributedError(problems or [f"The ranks lost touch{at(step)}."], fix=fix)


def named(ranks: list[int]) -> str:
    """Return the names of ranks, to begin a sentence with."""
    return f"Rank {ranks[0]}" if len(ranks) == 1 else "Ranks " + ", ".join(map(str, ranks))


@contextlib.contextmanager
def watching(roll: Roll, step: Callable[[], int | None], timeout: float | None) -> Iterator[None]:
    """Look after the other ranks beside the block, which may be stuck where no error is met."""
    if roll.folder in _watched:
        yield
        return
    over = threading.Event()
    watch = threading.Thread(target=look, args=(roll, step, timeout, over), daemon=True)
    _watched.add(roll.folder)
    watch.start()
    try:
        yield
    finally:
        over.set()
        _watched.discard(roll.folder)


def look(
    roll: Roll, step: Callable[[], int | None], timeout: float | None, over: threading.Event
) -> None:
    """End this process if another rank has ended and this one does not come to know of it."""
    while not over.wait(WATCH_SECONDS):
        if (roll.told() or roll.gone()) and not over.wait(GRACE_SECONDS):
            error = diagnosis(roll, False, step(), timeout)
            if not publish(roll, error, step()) and not isinstance(error, EchoError):
                sys.stderr.write(shown(error))
                sys.stderr.flush()
            roll.leave()
            os._exit(error.exit_code)


def shown(error: FinetuneError) -> str:
    """Return an error as the command line shows it."""
    lines = [f"error: {problem}" for problem in error.problems]
    return "\n" + "\n".join([*lines, f"  → {error.fix}"] if error.fix else lines) + "\n"
