"""How large pictures are and how long recordings, from their headers, for the audit."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

WINDOW_SECONDS = 30.0
"""What a Whisper-style encoder hears at once."""


def picture_facts(columns: Iterable[Any]) -> dict[str, Any]:
    """Return smallest, median and largest width and height, and how many pictures of each format.

    Args:
        columns: Columns of encoded pictures that are known to decode.
    """
    import PIL.Image

    sizes: list[tuple[int, int]] = []
    formats: Counter[str] = Counter()
    for data in _bytes(columns):
        with PIL.Image.open(io.BytesIO(data)) as image:
            sizes.append(image.size)
            formats[str(image.format)] += 1
    widths, heights = [width for width, _ in sizes], [height for _, height in sizes]
    return {
        "rows": len(sizes),
        "width": _spread(widths),
        "height": _spread(heights),
        "formats": dict(formats.most_common()),
    }


def recording_facts(columns: Iterable[Any]) -> dict[str, Any]:
    """Return how long recordings are, how many go beyond 30 s, and their sampling rates.

    Args:
        columns: Columns of encoded recordings that are known to decode.
    """
    import soundfile

    seconds: list[float] = []
    rates: Counter[int] = Counter()
    for data in _bytes(columns):
        info = soundfile.info(io.BytesIO(data))
        seconds.append(info.frames / info.samplerate)
        rates[info.samplerate] += 1
    return {
        "rows": len(seconds),
        "seconds": _spread([round(length, 2) for length in seconds]),
        "total_seconds": round(sum(seconds), 1),
        "beyond_30": sum(length > WINDOW_SECONDS for length in seconds),
        "sampling_rates": {str(rate): count for rate, count in rates.most_common()},
    }


def _bytes(columns: Iterable[Any]) -> Iterable[bytes]:
    for column in columns:
        for value in column:
            if value.is_valid:
                data = value["bytes"].as_py()
                if data is not None:
                    yield data


def _spread(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    ordered = sorted(values)
    return {"min": ordered[0], "p50": ordered[len(ordered) // 2], "max": ordered[-1]}
