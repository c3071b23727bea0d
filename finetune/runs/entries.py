"""Folders kept beside runs by the name of their content: hashed, complete or absent, bounded."""

from __future__ import annotations

import contextlib
import errno
import os
import time
import uuid
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any

from finetune.errors import StorageError
from finetune.runs import storage

FACTS = "facts.json"
DAY = 24 * 3600
"""Seconds after which a folder that nobody writes to any more is given up."""


def is_sound(entry: Path) -> bool:
    """Tell whether an entry is there with the files that were written, and note that it is used."""
    try:
        hashes = storage.read_json(entry / FACTS)["sha256"]
        if any(storage.sha256(entry / name) != known for name, known in hashes.items()):
            return False
        os.utime(entry)  # what was used last is kept longest
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StorageError):
        return False
    return True


@contextlib.contextmanager
def making(entry: Path, facts: Mapping[str, Any], *, needed: int) -> Iterator[Path]:
    """Yield a folder to write files to, which takes the entry's place when the block ends well.

    The entry is complete or absent. Of several processes that make the same one at once, all get
    one that is sound.

    Args:
        entry: The folder to be.
        facts: What it is, read when the block has ended.
        needed: Bytes that it will take, about.

    Raises:
        StorageError: The disk is full.
    """
    own = entry.with_name(f"{entry.name[:16]}-{uuid.uuid4().hex}")
    with storage.staged_folder(own, needed=needed) as staging:
        yield staging
        hashes = {file.name: storage.sha256(file) for file in sorted(staging.iterdir())}
        storage.write_json(staging / FACTS, {**facts, "sha256": hashes})
    place(own, entry)


def place(own: Path, entry: Path) -> None:
    """Put a whole folder in an entry's place, unless a sound one is there by now."""
    while True:
        try:
            own.rename(entry)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        if is_sound(entry):
            storage.remove_tree(own)
            return
        broken = entry.with_name(f"{entry.name[:16]}-{uuid.uuid4().hex}")
        with contextlib.suppress(OSError):  # another process was faster
            entry.rename(broken)
            storage.remove_tree(broken)


def make_room(folder: Path, needed: int, limit: int, keep: Container[str] = ()) -> None:
    """Delete what was used longest ago until entries of a size fit below a limit.

    What was never finished goes after a day, whatever else there is.

    Args:
        folder: Of the entries.
        needed: Bytes of the entries to be.
        limit: Most bytes of all.
        keep: Names of entries that stay.
    """
    total, ages = needed, []
    for entry in folder.glob("*"):
        with contextlib.suppress(OSError):  # another process may have deleted it
            if (entry / FACTS).is_file():
                ages.append((entry.stat().st_mtime, entry))
    for entry in folder.glob(".*.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - max(file.stat().st_mtime for file in (entry, *entry.iterdir())) > DAY:
                storage.remove_tree(entry)
    for _, entry in sorted(ages, reverse=True):
        with contextlib.suppress(OSError):
            total += size_of(entry)
            if total > limit and entry.name not in keep:
                storage.remove_tree(entry)


def size_of(entry: Path) -> int:
    """Return the bytes of an entry's files."""
    return sum(file.stat().st_size for file in entry.iterdir())
