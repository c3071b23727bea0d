"""Pictures and recordings: embedded from files that may not leave their folder, decoded in limits.

Files are untrusted. Sizes are checked before anything is decoded, formats come from a short list,
and a name that leads out of the data folder is refused.
"""

from __future__ import annotations

import io
import os
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.data.kinds import Audio, Kind
from finetune.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import PIL.Image

IMAGE_FORMATS = ("JPEG", "PNG", "WEBP")
AUDIO_FORMATS = frozenset({"WAV", "WAVEX", "RF64", "FLAC", "OGG", "MP3", "MPEG"})
MAX_PIXELS = 50_000_000
MAX_FILE_BYTES = 512 * 2**20
MAX_SECONDS = 3600.0
MAX_DECODED_BYTES = 2**30
SAMPLING_RATES = (2_000, 384_000)
"""Rates outside are forged or broken: recorders use 8,000 to 192,000."""
_CHUNK_BYTES = 256 * 2**20
_OPENING = threading.Lock()


class UnreadableError(Exception):
    """Why one file cannot be used, as the end of a sentence."""


def media_type() -> Any:
    """Return the Arrow type of an embedded file."""
    import pyarrow as pa

    return pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def embed(column: Any, root: Path | None, ids: Sequence[str]) -> tuple[Any, dict[int, str]]:
    """Put the files of a column into it.

    Args:
        column: Paths relative to `root`, or structs of bytes and path, or bytes.
        root: The folder that no path may leave; None where there are no files.
        ids: Id of each row, for errors.

    Returns:
        A column of `media_type`, and the reason for each row that cannot be used.

    Raises:
        DataError: A path is a URL or leads out of `root`, whatever the policy on invalid rows.
    """
    import pyarrow as pa

    values = column if isinstance(column, list) else column.to_pylist()
    real_root = root.resolve() if root else None
    wrong: dict[int, str] = {}
    chunks: list[Any] = []
    pending: list[Any] = []
    size = 0
    for index, value in enumerate(values):
        try:
            item = _embedded(value, real_root, ids[index])
        except UnreadableError as error:
            wrong[index], item = str(error), None
        pending.append(item)
        size += len(item["bytes"]) if item else 0
        if size > _CHUNK_BYTES:  # one Arrow chunk cannot hold more than 2 GiB of bytes
            chunks.append(pa.array(pending, media_type()))
            pending, size = [], 0
    chunks.append(pa.array(pending, media_type()))
    return pa.chunked_array(chunks), wrong


def _embedded(value: Any, root: Path | None, row: str) -> dict[str, Any]:
    if isinstance(value, bytes):
        return {"bytes": value, "path": None}
    if isinstance(value, Mapping):
        if value.get("bytes"):
            path = value.get("path")
            return {"bytes": value["bytes"], "path": Path(path).name if path else None}
        value = value.get("path")
    if value is None or value == "":
        raise UnreadableError("is missing")
    if not isinstance(value, str):
        raise UnreadableError("is neither a file name nor an encoded file")
    return {"bytes": read_inside(value, root, row=row), "path": value}


def read_inside(name: str, root: Path | None, *, row: str) -> bytes:
    """Read a file that lies in a folder.

    Raises:
        DataError: The name is a URL, or leads out of the folder.
        UnreadableError: It isn't there, or is too large.
    """
    if root is None:
        raise UnreadableError("is a file name, but the data are not in a folder")
    if "://" in name or name.startswith(("data:", "file:")):
        raise DataError(
            f"The file name in {row} is a URL; nothing is downloaded from row values.",
            fix="Download the files first and give their names relative to the data file.",
        )
    try:
        path = Path(os.path.realpath(root / name))
        inside = path.is_relative_to(root)
    except (ValueError, OSError):
        raise UnreadableError("is not a valid file name") from None
    if not inside:
        raise DataError(
            f"The file name in {row} leads out of the data folder.",
            fix=f"Keep the files under `{root}`, and name them relative to the data file.",
        )
    if not path.is_file():
        raise UnreadableError("names a file that does not exist")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise UnreadableError(f"is larger than {MAX_FILE_BYTES // 2**20} MiB")
    try:
        return path.read_bytes()
    except OSError:
        raise UnreadableError("cannot be read from disk") from None


def decode_image(struct: Mapping[str, Any], *, row: str = "") -> PIL.Image.Image:
    """Decode a picture to RGB, upright as its EXIF orientation says; of several frames the first.

    Transparency is dropped as `transformers` drops it, so that a plain processor fed with the same
    file sees the same pixels.

    Args:
        struct: `bytes` and `path`.
        row: Id of the row, for the error.

    Raises:
        DataError: It is broken, too large, or in a format that is not taken.
    """
    try:
        return _image(struct["bytes"])
    except UnreadableError as error:
        raise _unreadable("picture", row, error) from None


def decode_audio(
    struct: Mapping[str, Any], sampling_rate: int, *, row: str = ""
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Decode a recording to one channel at a sampling rate.

    Args:
        struct: `bytes` and `path`.
        sampling_rate: Samples per second of the result.
        row: Id of the row, for the error.

    Returns:
        Samples in [-1, 1], shape ``(samples,)``.

    Raises:
        DataError: It is broken, too long, or in a format that is not taken.
    """
    try:
        samples, rate = _audio(struct["bytes"])
    except UnreadableError as error:
        raise _unreadable("recording", row, error) from None
    if rate != sampling_rate:
        import soxr

        samples = soxr.resample(samples, rate, sampling_rate)
    return samples


def audio_seconds(struct: Mapping[str, Any]) -> float:
    """Return how long a recording says it is, in seconds, without decoding it.

    Raises:
        DataError: It is broken.
    """
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(struct["bytes"])) as file:
            return float(file.frames / file.samplerate)
    except (soundfile.SoundFileError, RuntimeError, TypeError, ValueError):
        raise _unreadable("recording", "", UnreadableError("is broken")) from None


def _unreadable(what: str, row: str, error: UnreadableError) -> DataError:
    return DataError(
        f"The {what}{f' of {row}' if row else ''} {error}.",
        fix="Replace the file, or leave such rows out with data.on_invalid=drop.",
        where=row,
    )


def check_media(column: Any, kind: Kind, *, workers: int | None = None) -> dict[int, str]:
    """Decode every row once.

    Args:
        column: A column of `media_type`.
        kind: `Image` or `Audio`.
        workers: Threads; the decoders run outside of the interpreter's lock.

    Returns:
        The reason for each row that cannot be used; rows that are null are passed over.
    """
    decode: Callable[[bytes], Any] = _audio if isinstance(kind, Audio) else _image

    def reason(value: Any) -> str | None:
        data = value["bytes"].as_py() if value.is_valid else None
        if data is None:
            return None
        try:
            decode(data)
        except UnreadableError as error:
            return str(error)
        return None

    wrong: dict[int, str] = {}
    offset = 0
    with ThreadPoolExecutor(workers or min(4, os.cpu_count() or 1)) as pool:
        for chunk in column.chunks:
            for index, found in enumerate(pool.map(reason, chunk)):
                if found:
                    wrong[offset + index] = found
            offset += len(chunk)
    return wrong


def _image(data: bytes) -> PIL.Image.Image:
    import PIL.Image
    import PIL.ImageOps

    if not data:
        raise UnreadableError("is empty")
    try:
        with _OPENING, warnings.catch_warnings():
            # Pillow only warns below twice its own limit; ours is checked on the next line.
            warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
            image = PIL.Image.open(io.BytesIO(data), formats=IMAGE_FORMATS)
        if image.width * image.height > MAX_PIXELS:
            raise UnreadableError(f"has more than {MAX_PIXELS // 10**6} million pixels")
        return _rgb(PIL.ImageOps.exif_transpose(image))
    except PIL.Image.DecompressionBombError:
        raise UnreadableError(f"has more than {MAX_PIXELS // 10**6} million pixels") from None
    except PIL.UnidentifiedImageError:
        raise UnreadableError("is not a JPEG, PNG or WebP picture") from None
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError) as error:
        raise UnreadableError("is broken and cannot be decoded") from error


def _rgb(image: PIL.Image.Image) -> PIL.Image.Image:
    if image.mode.startswith("I"):  # 16 bits a pixel, which Pillow would clip instead of scale
        import numpy as np
        import PIL.Image

        pixels = np.asarray(image).astype(np.int64)
        deep = image.mode.startswith("I;16") or int(pixels.max(initial=0)) > 255
        image = PIL.Image.fromarray((pixels >> 8 if deep else pixels).clip(0, 255).astype("uint8"))
    return image.convert("RGB")


def _audio(data: bytes) -> tuple[np.ndarray[Any, np.dtype[np.float32]], int]:
    import numpy as np
    import soundfile

    if not data:
        raise UnreadableError("is empty")
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            if file.format not in AUDIO_FORMATS:
                raise UnreadableError("is not a wav, flac, mp3 or ogg recording")
            rate, channels = int(file.samplerate), int(file.channels)
            if not SAMPLING_RATES[0] <= rate <= SAMPLING_RATES[1]:
                raise UnreadableError(f"claims a sampling rate of {rate:,} Hz")
            most = int(min(MAX_SECONDS * rate, MAX_DECODED_BYTES // (4 * channels)))
            parts: list[Any] = []
            frames = 0
            # Headers lie, so what was decoded is counted as well.
            while frames <= most:
                block = file.read(rate * 10, dtype="float32", always_2d=True)
                if not len(block):
                    break
                frames += len(block)
                parts.append(block.mean(axis=1))
    except (soundfile.SoundFileError, RuntimeError, TypeError, ValueError):
        raise UnreadableError("is broken and cannot be decoded") from None
    if frames > most:
        raise UnreadableError(f"is longer than {MAX_SECONDS / 60:.0f} minutes or too large decoded")
    if not frames:
        raise UnreadableError("has no samples")
    samples = np.concatenate(parts)
    if not bool(np.isfinite(samples).all()):
        raise UnreadableError("has samples that are not finite")
    return samples, rate
