"""Make the `dialling` sample: dialled numbers as DTMF tones in noise, with their digits.

    python scripts/samples/dialling.py [OUT]

Each clip is one number of three to five digits, keyed by hand on some telephone line: the tempo,
the level, the balance of the two tones, the tuning of the generator and the noise all vary. No
number occurs twice. The text is the number with a space between the digits ("5 0 7 2"), so that a word
error is one wrong digit.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

SEED = 20260
RATE = 8000  # samples per second, as on a telephone line
ROWS_PER_NOISE = 200
# Signal-to-noise ratio in decibels. Tones are narrow, so a human still hears the digits at 0 dB.
NOISE = {"low": (18.0, 26.0), "medium": (6.0, 12.0), "high": (-4.0, 2.0)}
LOW = (697.0, 770.0, 852.0, 941.0)  # ITU-T Q.23: one tone for the row of the key,
HIGH = (1209.0, 1336.0, 1477.0)  # another for its column
KEYPAD = ("123", "456", "789", "*0#")

DEFAULT_OUT = Path(__file__).resolve().parents[2] / "finetune/data/samples/dialling"


def frequencies(digit: str) -> tuple[float, float]:
    """Return the two frequencies in hertz that a key sounds."""
    row = next(index for index, keys in enumerate(KEYPAD) if digit in keys)
    return LOW[row], HIGH[KEYPAD[row].index(digit)]


def keypress(digit: str, seconds: float, tuning: float, twist: float) -> np.ndarray:
    """Return one key's sound at level 1, with 4 ms edges so that it doesn't click.

    Args:
        digit: The key.
        seconds: How long it is held.
        tuning: Factor on both frequencies.
        twist: Level of the higher tone relative to the lower one.
    """
    time = np.arange(round(seconds * RATE)) / RATE
    low, high = frequencies(digit)
    wave = np.sin(2 * np.pi * low * tuning * time) + twist * np.sin(
        2 * np.pi * high * tuning * time
    )
    edge = np.minimum(1.0, np.minimum(time, time[::-1]) / 0.004)
    return np.asarray(wave * edge / np.sqrt((1 + twist**2) / 2))


def dial(number: str, snr: float, random: np.random.Generator) -> np.ndarray:
    """Return 16-bit samples of a number dialled on one line with one hand."""
    pace = random.uniform(0.75, 1.35)
    tuning = random.uniform(0.99, 1.01)
    twist = 10 ** (random.uniform(-4, 4) / 20)
    parts = [np.zeros(round(random.uniform(0.05, 0.25) * RATE))]
    for digit in number:
        parts.append(keypress(digit, pace * random.uniform(0.065, 0.115), tuning, twist))
        parts.append(np.zeros(round(pace * random.uniform(0.045, 0.095) * RATE)))
    parts.append(np.zeros(round(random.uniform(0.05, 0.15) * RATE)))
    signal = np.concatenate(parts)
    noisy = signal + random.standard_normal(len(signal)) * 10 ** (-snr / 20)
    level = 10 ** (random.uniform(-42, -28) / 20)
    return np.clip(np.round(noisy * level * 32767), -32768, 32767).astype(np.int16)


def clips(seed: int = SEED) -> Iterator[tuple[np.ndarray, str, str]]:
    """Yield samples, text and noise class of every clip, always the same for a seed."""
    random = np.random.default_rng(seed)
    seen: set[str] = set()
    for noise in np.repeat(list(NOISE), ROWS_PER_NOISE)[random.permutation(3 * ROWS_PER_NOISE)]:
        number = ""
        while not number or number in seen:
            number = "".join(str(digit) for digit in random.integers(0, 10, random.integers(3, 6)))
        seen.add(number)
        yield dial(number, random.uniform(*NOISE[noise]), random), " ".join(number), str(noise)


def rows() -> Iterator[dict[str, Any]]:
    """Yield the rows of the file: FLAC bytes with a name, text, noise class."""
    import soundfile

    for index, (samples, text, noise) in enumerate(clips(), start=1):
        flac = io.BytesIO()
        soundfile.write(flac, samples, RATE, format="FLAC", subtype="PCM_16", compression_level=1.0)
        audio = {"bytes": flac.getvalue(), "path": f"dialling-{index:03d}.flac"}
        yield {"audio": audio, "text": text, "noise": noise}


def main(out: Path = DEFAULT_OUT) -> None:
    """Write `dialling.parquet` to a folder."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    audio = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([("audio", audio), ("text", pa.string()), ("noise", pa.string())])
    out.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(list(rows()), schema=schema)
    # FLAC doesn't compress further, and small row groups let a reader take a few clips.
    pq.write_table(table, out / "dialling.parquet", compression="none", row_group_size=128)
    size = (out / "dialling.parquet").stat().st_size
    print(f"{table.num_rows} clips, {size / 1e6:.2f} MB in {out}")


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:2]))
