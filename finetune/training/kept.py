"""Numbers of each row kept on disk: written once, mapped afterwards, never held in memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from finetune.errors import StorageError
from finetune.runs import entries, storage

VALUES, SHAPES, NAMES = "values.bin", "shapes.npy", "names.bin"
NAME_BYTES = 16
DIMENSIONS = 8
"""Most that a row has."""
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
        self.facts = storage.read_json(folder / entries.FACTS)
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
        return Kept(entry) if entries.is_sound(entry) else None
    except (OSError, ValueError, KeyError, TypeError, StorageError):
        return None


def write(
    entry: Path, blocks: Iterable[Sequence[Named]], *, needed: int, facts: dict[str, Any]
) -> Kept:
    """Write rows of states, each of a shape of its own, and return them mapped.

    Args:
        entry: The folder to be.
        blocks: Rows, so many at a time.
        needed: Bytes that it will take, about.
        facts: What it is, for whoever looks into the folder.

    Raises:
        StorageError: The disk is full.
    """
    shapes: list[list[int]] = []
    dtype, known = torch.float32, dict(facts)
    with entries.making(entry, known, needed=needed) as staging:
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
        known["dtype"] = str(dtype).removeprefix("torch.")
    return Kept(entry)


def forget(found: Kept) -> None:
    """Let the system's memory drop what was just written, so that the disk itself is read."""
    if hasattr(os, "posix_fadvise"):
        with (found.folder / VALUES).open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
