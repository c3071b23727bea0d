"""Near-duplicates of sound: the coarse shape of the spectrum over time, after silence is cut off.

Energy in bands like the ear's, as logarithms, so that gain is a summand and drops out. Signs of
its steps in time and pitch find candidates (Haitsma and Kalker 2002, "A highly robust audio
fingerprinting system"); the correlation of the whole and the length decide.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from finetune.data.media import decode_audio
from finetune.data.near.clusters import Near
from finetune.data.near.vectors import Print, near_prints
from finetune.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

THRESHOLD = 0.98
RATE = 8_000
WINDOW, HOP = 256, 40
BANDS, STEPS = 20, 48
RANGE = 4.0
"""What is quieter than the loudest by more than this power of ten is noise or silence."""
TOLERANCES = (0.08,)
"""How far apart the logarithms of two lengths may be."""


def find_near_sound(
    columns: Iterable[pa.ChunkedArray | pa.Array],
    *,
    threshold: float = THRESHOLD,
    workers: int | None = None,
) -> Near:
    """Find rows whose recording is almost the same.

    Args:
        columns: Structs of bytes and path, rows numbered through. Rows that are null, silent or
            cannot be decoded are not compared.
        threshold: Least correlation of the spectra.
        workers: Threads.
    """
    structs = (value for column in columns for value in column)
    with ThreadPoolExecutor(workers or min(4, os.cpu_count() or 1)) as pool:
        return near_prints(list(pool.map(_print, structs)), TOLERANCES, threshold)


def _print(value: Any) -> Print | None:
    import numpy as np

    struct = value.as_py()
    if not struct or not struct["bytes"]:
        return None
    try:
        samples = decode_audio(struct, RATE)
    except DataError:
        return None
    state = blake2b(samples.tobytes(), digest_size=8).digest()
    loud = np.flatnonzero(np.abs(samples) > 0.03 * np.abs(samples).max(initial=0))
    if not len(loud):
        return None
    samples = samples[loud[0] : loud[-1] + 1]
    shape = spectrum(samples)
    steps = np.diff(np.diff(_pooled(shape, 17), axis=0)[:, ::2], axis=1) > 0
    scaled = np.clip(_pooled(shape, STEPS) / RANGE + 1, 0, 1) * 255
    length = np.log(np.array([len(samples)]))
    return Print(
        int.from_bytes(state, "little"), steps.ravel(), scaled.astype(np.uint8).ravel(), length
    )


def spectrum(samples: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return log10 of the energy, 0 for the loudest, shape ``(frames, BANDS)``."""
    import numpy as np

    padded = np.pad(samples, (WINDOW // 2, WINDOW))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    parts = [
        np.abs(np.fft.rfft(frames[begin : begin + 2048] * np.hanning(WINDOW))) ** 2 @ _bands()
        for begin in range(0, len(frames), 2048)
    ]
    energy = np.concatenate(parts)
    power: np.ndarray[Any, Any] = np.maximum(energy / max(energy.max(), 1e-30), 10.0**-RANGE)
    decades: np.ndarray[Any, Any] = np.log10(power)
    return decades


def _pooled(shape: np.ndarray[Any, Any], steps: int) -> np.ndarray[Any, Any]:
    """Return means over equal stretches of time, shape ``(steps, BANDS)``."""
    import numpy as np

    total = np.concatenate([np.zeros((1, shape.shape[1])), np.cumsum(shape, axis=0)])
    places = np.linspace(0, len(shape), steps + 1)
    floor = np.minimum(places.astype(int), len(shape) - 1)
    sums = total[floor] + (places - floor)[:, None] * (total[floor + 1] - total[floor])
    means: np.ndarray[Any, Any] = np.diff(sums, axis=0) * steps / len(shape)
    return means


@cache
def _bands() -> np.ndarray[Any, Any]:
    """Return triangular bands equally wide in mel from 100 to 3,400 Hz, shape (bins, BANDS)."""
    import numpy as np

    mel = np.linspace(np.log1p(100 / 700), np.log1p(3_400 / 700), BANDS + 2)
    edges = 700 * np.expm1(mel)
    bins = np.fft.rfftfreq(WINDOW, 1 / RATE)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    table: np.ndarray[Any, Any] = np.maximum(0, np.minimum(rising, falling))
    return table
