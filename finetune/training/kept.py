"""Numbers of each row kept on disk: written once, mapped afterwards, never held in memory."""

from __future__ import annotations

import contextlib
import errno
import os
import time
import uuid
from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from finetune.errors import StorageError
from finetune.runs import storage

VALUES, SHAPES, NAMES, FACTS = "values.bin", "shapes.npy", "names.bin", "facts.json"
NAME_BYTES = 16
DIMENSIONS = 8
"""Most that a row has."""
DAY = 24 * 3600
"""Seconds after which a folder that nobody writes to any more is given up."""
Named = tuple[bytes, Tensor]
"""A row's name, of `NAME_BYTES` bytes or empty, and its states."""
STORED = {
    torch.float32: np.float32,
    torch.float16: np.float16,
    torch.bfloat16: np.uint16,
    torch.float64: np.float64,
    torch.int64: np.int64,
    torch.uint8: np.uint8,
}
"""How numpy, which has no bfloat16, reads the bytes of a type."""


class Kept:
    """Rows of states, mapped from an entry's folder.

    Args:
        folder: What `write` has published.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.facts = storage.read_json(folder / FACTS)
        self.dtype: torch.dtype = getattr(torch, self.facts["dtype"])
        shapes = np.load(folder / SHAPES)
        self.shapes = [tuple(int(size) for size in row if size >= 0) for row in shapes]
        """Of each row."""
        self.offsets = np.append(0, np.abs(shapes).prod(1).cumsum())
        told = (folder / NAMES).read_bytes()
        self.names = [told[at : at + NAME_BYTES] for at in range(0, len(told), NAME_BYTES)]
        """Of each row; none where they have no names."""
        size = int(self.offsets[-1])
        kind = STORED[self.dtype]
        # an empty file cannot be mapped
        self.values = (
            np.memmap(folder / VALUES, dtype=kind, mode="r", shape=(size,))
            if size
            else np.zeros((0,), dtype=kind)
        )

    def __len__(self) -> int:
        return len(self.shapes)

    def row(self, number: int) -> Tensor:
        """Return a row's states, in the shape and the type that they were computed in."""
        found = np.array(self.values[self.offsets[number] : self.offsets[number + 1]])
        states = torch.from_numpy(found).reshape(self.shapes[number])
        return states.view(torch.bfloat16) if self.dtype == torch.bfloat16 else states

    @property
    def bytes(self) -> int:
        """Size on disk."""
        return int(self.values.nbytes)


def load(entry: Path) -> Kept | None:
    """Return what is kept under an entry; None where there is nothing sound."""
    try:
        hashes = storage.read_json(entry / FACTS)["sha256"]
        if any(storage.sha256(entry / name) != known for name, known in hashes.items()):
            return None
        os.utime(entry)  # what was used last is kept longest
        return Kept(entry)
    except (OSError, ValueError, KeyError, TypeError, StorageError):
        return None


def write(
    entry: Path, blocks: Iterable[Sequence[Named]], *, needed: int, facts: dict[str, Any]
) -> Kept:
    """Write rows of states, each of a shape of its own, and return them mapped.

    The entry is complete or absent. Of several processes that make the same one at once, all get
    one that is sound.

    Args:
        entry: The folder to be.
        blocks: Rows, so many at a time.
        needed: Bytes that it will take, about.
        facts: What it is, for whoever looks into the folder.

    Raises:
        StorageError: The disk is full.
    """
    own = entry.with_name(f"{entry.name[:16]}-{uuid.uuid4().hex}")
    shapes: list[list[int]] = []
    dtype = torch.float32
    with storage.staged_folder(own, needed=needed) as staging:
        with (staging / VALUES).open("wb") as file, (staging / NAMES).open("wb") as named:
            for rows in blocks:
                for name, row in rows:
                    named.write(name)
                    dtype = row.dtype
                    shapes.append([*row.shape, *[-1] * (DIMENSIONS - row.dim())])
                    raw = row.detach().cpu().contiguous()
                    file.write(raw.flatten().view(torch.uint8).numpy().tobytes())
        listed = np.array(shapes, dtype=np.int64).reshape(-1, DIMENSIONS)
        np.save(staging / SHAPES, listed)
        hashes = {name: storage.sha256(staging / name) for name in (VALUES, SHAPES, NAMES)}
        known = {"dtype": str(dtype).removeprefix("torch."), "sha256": hashes}
        storage.write_json(staging / FACTS, {**facts, **known})
    return placed(own, entry)


def forget(found: Kept) -> None:
    """Let the system's memory drop what was just written, so that the disk itself is read."""
    if hasattr(os, "posix_fadvise"):
        with (found.folder / VALUES).open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def placed(own: Path, entry: Path) -> Kept:
    """Put a whole folder in an entry's place, unless a sound one is there by now."""
    while True:
        try:
            own.rename(entry)
            return Kept(entry)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        found = load(entry)
        if found is not None:
            storage.remove_tree(own)
            return found
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
