"""Small numbers that stand for pictures and sound, by which a cheap model judges labels."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from finetune.data.media import decode_audio, decode_image
from finetune.data.near.sound import BANDS, RATE, spectrum
from finetune.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

SIDE = 16
STRETCHES = 8
"""Parts of a recording; each is the mean of its bands."""
MOST_SECONDS = 30


def picture_features(
    columns: Iterable[pa.ChunkedArray | pa.Array], *, workers: int | None = None
) -> np.ndarray[Any, Any]:
    """Return 16 × 16 grey values by picture; not a number where there is none to be read.

    Args:
        columns: Structs of bytes and path, rows numbered through.
        workers: Threads.
    """
    return _each(columns, _grey, SIDE * SIDE, workers)


def sound_features(
    columns: Iterable[pa.ChunkedArray | pa.Array], *, workers: int | None = None
) -> np.ndarray[Any, Any]:
    """Return the mean loudness of 20 bands in eight parts of each recording.

    Args:
        columns: Structs of bytes and path, rows numbered through.
        workers: Threads.

    Returns:
        Logarithms of energy by recording; not a number where there is none to be read.
    """
    return _each(columns, _loudness, STRETCHES * BANDS, workers)


def _each(
    columns: Iterable[Any], measure: Callable[[Any], Any], width: int, workers: int | None
) -> np.ndarray[Any, Any]:
    import numpy as np

    def row(value: Any) -> Any:
        struct = value.as_py()
        try:
            return measure(struct) if struct and struct["bytes"] else None
        except DataError:
            return None

    structs = (value for column in columns for value in column)
    with ThreadPoolExecutor(workers or min(4, os.cpu_count() or 1)) as pool:
        measured = list(pool.map(row, structs))
    table = np.full((len(measured), width), np.nan, dtype=np.float32)
    for number, values in enumerate(measured):
        if values is not None:
            table[number] = values
    return table


def _grey(struct: Any) -> Any:
    import numpy as np
    import PIL.Image

    small = decode_image(struct).convert("L").resize((SIDE, SIDE), PIL.Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32).ravel()


def _loudness(struct: Any) -> Any:
    import numpy as np

    samples = decode_audio(struct, RATE)[: RATE * MOST_SECONDS]
    loud = np.flatnonzero(np.abs(samples) > 0.03 * np.abs(samples).max(initial=0))
    if not len(loud):
        return None
    shape = spectrum(samples[loud[0] : loud[-1] + 1])
    edges = np.linspace(0, len(shape), STRETCHES + 1).astype(int)
    parts = [shape[a : max(b, a + 1)].mean(0) for a, b in pairwise(edges)]
    return np.concatenate(parts)
