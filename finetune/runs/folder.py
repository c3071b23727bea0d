"""The run folder: its paths, its lock and its manifest."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import resource
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from finetune.errors import FinetuneError, LockedError, StorageError
from finetune.runs import changes, resumption, storage
from finetune.runs.changes import Change

STAGES = ("prepare", "train", "export", "evaluate", "report")


class RunFolder:
    """One run on disk; everything that passes from one stage to the next is in it.

    Args:
        path: The folder, which need not exist.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.current: str | None = None  # the stage that runs now, for the sentence of a signal
        self._lock: int | None = None

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    @property
    def manifest_file(self) -> Path:
        """Versions, hashes, and what each stage took."""
        return self.path / "manifest.json"

    @property
    def data(self) -> Path:
        """The splits and the audit."""
        return self.path / "data"

    @property
    def checkpoints(self) -> Path:
        """What training can be resumed from."""
        return self.path / "checkpoints"

    @property
    def metrics_log(self) -> Path:
        """One line per logged step."""
        return self.path / "logs" / "metrics.jsonl"

    @property
    def adapter(self) -> Path:
        """The PEFT adapter, when the strategy has one."""
        return self.path / "adapter"

    @property
    def merged(self) -> Path:
        """The model that plain transformers loads."""
        return self.path / "merged"

    @property
    def evaluation(self) -> Path:
        """Scores and predictions on the test rows."""
        return self.path / "eval"

    @property
    def report(self) -> Path:
        """The report."""
        return self.path / "report.html"

    @property
    def error(self) -> Path:
        """What went wrong, after a failure."""
        return self.path / "error.json"

    def manifest(self) -> dict[str, Any]:
        """Return the manifest, empty when there is none yet.

        Raises:
            ArtefactError: It was cut or changed.
        """
        if not self.manifest_file.is_file():
            return {}
        try:
            content = storage.read_json(self.manifest_file)
            stages = content.get("stages", {})
            sound = isinstance(stages, dict) and all(isinstance(s, dict) for s in stages.values())
        except (ValueError, AttributeError, RecursionError):
            sound = False
        if not sound:
            raise resumption.broken(self, "is not valid JSON of a manifest: it was cut or changed")
        found: dict[str, Any] = content
        return found

    def record(self, **values: Any) -> None:
        """Set root keys of the manifest."""
        storage.write_json(self.manifest_file, {**self.manifest(), **values})

    def record_stage(self, stage: str, **values: Any) -> None:
        """Set keys of one stage in the manifest."""
        stages = dict(self.manifest().get("stages", {}))
        stages[stage] = {**stages.get(stage, {}), **values}
        self.record(stages=stages)

    def is_done(self, stage: str) -> bool:
        """Tell whether a stage has finished."""
        return "finished_at" in self.manifest().get("stages", {}).get(stage, {})

    def is_finished(self) -> bool:
        """Tell whether every stage has finished."""
        return all(self.is_done(stage) for stage in STAGES)

    def has_trained(self) -> bool:
        """Tell whether there is a checkpoint, or training is over."""
        return self.is_done("train") or any(self.checkpoints.glob("step-*"))

    def forget_stages(self, stages: Sequence[str]) -> None:
        """Mark stages as not done, so that they run again."""
        kept = {k: v for k, v in self.manifest().get("stages", {}).items() if k not in stages}
        self.record(stages=kept)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[dict[str, Any]]:
        """Time a stage; what the block puts into the yielded dict is recorded with it."""
        start = time.perf_counter()
        facts: dict[str, Any] = {}
        self.current = name
        yield facts
        self.record_stage(
            name,
            seconds=round(time.perf_counter() - start, 3),
            peak_memory_bytes=peak_memory_bytes(),
            **facts,
            finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def lock(self) -> None:
        """Claim the folder for this process; the system lets go when the process ends.

        Raises:
            LockedError: Another process holds it.
            StorageError: The folder cannot be made or written.
        """
        with storage.explained(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(descriptor, 500).decode(errors="replace").strip() or "another process"
            os.close(descriptor)
            raise LockedError(
                f"`{self.path}` is in use by {holder}.",
                fix="Wait for it, or start this run under another name with name=NAME.",
                where=str(self.path),
            ) from error
        except OSError as error:
            os.close(descriptor)
            raise StorageError(
                f"`{self.path}` is on a file system that cannot lock files: {error.strerror}.",
                fix="Name a folder on another file system with run.dir=FOLDER.",
                where=str(self.path),
            ) from error
        started = datetime.now(UTC).isoformat(timespec="seconds")
        holder = f"process {os.getpid()} on {socket.gethostname()} since {started}"
        try:
            with storage.explained(self.path):
                os.ftruncate(descriptor, 0)
                os.write(descriptor, holder.encode())
        except BaseException:
            os.close(descriptor)
            raise
        self._lock = descriptor
        # A loader worker would hold it on for seconds after this process was killed.
        os.register_at_fork(after_in_child=self.unlock)

    def unlock(self) -> None:
        """Let go of the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def claim(
        self,
        config_text: str,
        *,
        overwrite: bool = False,
        allow: Sequence[str] = (),
        found: Callable[[], Sequence[Change]] = tuple,
    ) -> list[Change]:
        """Lock the folder for a run of this configuration, new or unfinished.

        Args:
            config_text: What config.yaml is to hold.
            overwrite: Start anew, whatever is there.
            allow: Keys that may have changed since the earlier attempt.
            found: Returns what else has changed since, asked only when there was one.

        Returns:
            The changes that were allowed.

        Raises:
            ConfigError: A finished run is there, or an unfinished one of another configuration.
            ArtefactError: The manifest is cut or missing.
            LockedError: Another process holds it.
            StorageError: It cannot be written.
        """
        with storage.explained(self.path):
            is_other = self.path.exists() and not self.path.is_dir()
        if is_other:
            raise StorageError(
                f"`{self.path}` is a file, not a run folder.", fix="Give another name=NAME."
            )
        if self._is_foreign():
            raise StorageError(
                f"`{self.path}` holds files but is no run folder; it is left as it is.",
                fix="Give another name=NAME or run.dir=FOLDER.",
            )
        self.lock()
        try:
            new, allowed = changes.settings(config_text), list[Change]()
            if overwrite:
                self.clear()
            elif self.config.is_file() and resumption.has_begun(self):
                allowed = resumption.resume(self, new, allow=allow, found=found)
            else:
                changes.refuse_unknown(allow, new)
                self.clear()  # nothing was finished: a mistake in the first command blocks nothing
            storage.refuse_links(self.path)
            with storage.explained(self.path):
                self.error.unlink(missing_ok=True)
            if not self.config.is_file() or self.config.read_bytes() != config_text.encode():
                storage.write_text(self.config, config_text)  # evaluate settings may have changed
            self.record(configuration=new)
        except BaseException:
            self.unlock()
            raise
        return allowed

    def _is_foreign(self) -> bool:
        """Tell whether there is something here that no run of ours has left."""
        with storage.explained(self.path):
            if not self.path.is_dir() or self.config.is_file():
                return False
            names = [entry.name for entry in self.path.iterdir()]
        begun = re.compile(r"\.lock|error\.json|\.(config\.yaml|error\.json)\.\d+\.tmp")
        return not all(begun.fullmatch(name) for name in names)

    def clear(self) -> None:
        """Delete what the folder holds, but for its lock; what tells that it is ours goes last."""
        with storage.explained(self.path):
            entries = [entry for entry in self.path.iterdir() if entry.name != ".lock"]
            for entry in sorted(entries, key=lambda entry: entry == self.config):
                if entry.is_dir() and not entry.is_symlink():
                    storage.remove_tree(entry)
                else:
                    entry.unlink()

    def write_error(self, error: FinetuneError) -> None:
        """Leave error.json behind; a failure to do so is not reported over the first one."""
        with contextlib.suppress(OSError, StorageError):
            storage.write_json(
                self.error,
                {
                    "code": error.exit_code,
                    "what": error.problems,
                    "where": error.where,
                    "fix": error.fix,
                },
            )


def peak_memory_bytes() -> int:
    """Return the largest memory this process ever used, with the device's peak when it has one."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        peak += torch.cuda.max_memory_allocated()
    return peak
