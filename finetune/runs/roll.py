"""The roll of a job's ranks: who is in it, who is gone, and what each has to say, as files."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

from finetune.errors import FinetuneError, Interrupted, StorageError
from finetune.runs import storage

FOLDER = ".ranks"
_echoed: list[FinetuneError] = []
"""What this process ended with because another one had said why."""
LAUNCHER = "FINETUNE_LAUNCH_FOLDER"
"""Names the folder in which ranks leave word for `finetune launch`, which then speaks for them."""


class EchoError(FinetuneError):
    """What another rank has already said; it ends this rank, and is not said again."""


def host() -> str:
    """Return where a process number means something: the machine, and its space of processes."""
    try:
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        space = ""
    return f"{socket.gethostname()} {space}".strip()


def started(pid: int) -> int | None:
    """Return when a process started, in the system's own ticks; None where that is not to be had.

    One that has ended but that nobody has taken note of yet (a zombie) counts as gone.

    Raises:
        ProcessLookupError: There is no such process.
    """
    if not Path("/proc/self/stat").is_file():
        os.kill(pid, 0)
        return None
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    except OSError as error:
        raise ProcessLookupError(pid) from error
    if fields[0] in "ZX":
        raise ProcessLookupError(pid)
    return int(fields[19])


def is_gone(entry: dict[str, Any]) -> bool:
    """Tell whether a process that was on the roll has ended; on another machine none seems to."""
    if entry.get("host") != host():
        return False
    try:
        return bool(started(int(entry["pid"])) != entry["start"])
    except ProcessLookupError:
        return True
    except (PermissionError, KeyError):
        return False


def kill(entry: dict[str, Any]) -> bool:
    """End a process for good, if it is on this machine and is still the one that was meant."""
    if entry.get("host") != host() or entry.get("start") is None or is_gone(entry):
        return False
    with contextlib.suppress(OSError):
        os.kill(int(entry["pid"]), signal.SIGKILL)
        return True
    return False


class Roll:
    """The ranks of one job, as files below its run folder; a rank writes its own and reads all.

    Args:
        folder: The run folder.
        rank: This process's rank.
        world: How many ranks there are.
    """

    def __init__(self, folder: Path, rank: int, world: int) -> None:
        self.folder, self.rank, self.world = folder / FOLDER, rank, world

    def _file(self, rank: int, what: str) -> Path:
        return self.folder / f"{rank}{what}.json"

    def _read(self, what: str) -> dict[int, dict[str, Any]]:
        """Return one kind of file of the other ranks."""
        found = {}
        for rank in range(self.world):
            with contextlib.suppress(OSError, ValueError):
                if rank != self.rank:
                    found[rank] = storage.read_json(self._file(rank, what))
        return found

    def _write(self, suffix: str, **values: Any) -> None:
        """Write a file of this rank; a full disk must not hide what is being told."""
        with contextlib.suppress(OSError, StorageError):
            storage.write_json(self._file(self.rank, suffix), {"at": time.time(), **values})

    def clear(self) -> None:
        """Forget an earlier job's ranks."""
        storage.remove_tree(self.folder)

    def is_on(self) -> bool:
        """Tell whether this rank is on the roll."""
        return self._file(self.rank, "").is_file()

    def enter(self) -> None:
        """Put this rank on the roll."""
        pid = os.getpid()
        self._write("", pid=pid, host=host(), start=started(pid))

    def leave(self) -> None:
        """Take this rank off the roll: it has ended well, or has said why not."""
        with contextlib.suppress(OSError):
            for what in ("", ".ready"):
                self._file(self.rank, what).unlink(missing_ok=True)
            if not any(self.folder.iterdir()):
                self.folder.rmdir()

    def entries(self) -> dict[int, dict[str, Any]]:
        """Return the other ranks that are on the roll."""
        return self._read("")

    def tell(self, error: FinetuneError, step: int | None = None) -> None:
        """Say once for all ranks why this one ends."""
        if isinstance(error, EchoError):
            _echoed.append(error)
        if not self._file(self.rank, ".error").is_file():
            self._write(".error", **described(error), step=step)

    def told(self) -> dict[int, dict[str, Any]]:
        """Return what other ranks said of their ends, the earliest first."""
        return dict(sorted(self._read(".error").items(), key=lambda item: item[1].get("at", 0.0)))

    def notice(self) -> None:
        """Say that this rank is alive and waits for others in vain."""
        self._write(".waits")

    def arrive(self) -> None:
        """Say that this rank is ready to train."""
        self._write(".ready")

    def missing(self) -> list[int]:
        """Return the other ranks that are not ready to train."""
        there = {*self._read(".ready"), self.rank}
        return [rank for rank in range(self.world) if rank not in there]

    def gone(self) -> list[int]:
        """Return the ranks that ended without a word."""
        spoke = {*self.told(), *self._read(".waits")}
        return [r for r, entry in self.entries().items() if r not in spoke and is_gone(entry)]

    def silent(self) -> list[int]:
        """Return the other ranks that have not noticed that something is wrong."""
        spoke = {*self.told(), *self._read(".waits"), self.rank}
        return [rank for rank in range(self.world) if rank not in spoke]


def described(error: FinetuneError) -> dict[str, Any]:
    """Return an error as it is kept in a file."""
    return {
        "code": error.exit_code,
        "what": error.problems,
        "where": error.where,
        "fix": error.fix,
        "echo": isinstance(error, EchoError),
        "kind": type(error).__name__,
    }


def restored(record: dict[str, Any], kind: type[FinetuneError] = FinetuneError) -> FinetuneError:
    """Return the error that a file describes."""
    error = kind(
        [str(problem) for problem in record["what"]],
        fix=str(record.get("fix", "")),
        where=str(record.get("where", "")),
    )
    error.exit_code = int(record["code"])
    return error


def sign_in() -> None:
    """Let `finetune launch` know this process, so that it leaves none behind."""
    folder, pid = os.environ.get(LAUNCHER), os.getpid()
    if folder and Path(folder).is_dir():
        with contextlib.suppress(OSError, StorageError):
            entry = {"pid": pid, "host": host(), "start": started(pid)}
            storage.write_json(Path(folder) / f"{pid}.rank", entry)


def to_launcher(error: FinetuneError) -> bool:
    """Leave an error to `finetune launch`; False says that nobody is there to show it."""
    folder = os.environ.get(LAUNCHER)
    if not folder or not Path(folder).is_dir():
        return False
    rank = int(os.environ.get("RANK", 0))
    file = Path(folder) / f"{rank}.json"
    if file.is_file():  # the first word counts: the launcher's SIGTERM may come after it
        return True
    try:
        storage.write_json(file, {"rank": rank, "at": time.time(), **described(error)})
    except (OSError, StorageError):
        return False
    return True


def is_said_elsewhere(error: FinetuneError) -> bool:
    """Tell whether the launcher, or another rank, shows an error of this one."""
    if to_launcher(error) or isinstance(error, EchoError) or _echoed:
        return True
    return isinstance(error, Interrupted) and os.environ.get("RANK", "0") != "0"
