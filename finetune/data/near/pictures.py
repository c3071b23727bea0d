"""Near-duplicates of pictures: two perceptual hashes find candidates, thumbnails decide.

dHash has the sign of each step to the right in a picture of 9 × 8, pHash that of the 64 lowest
frequencies against their median. Both are grey and coarse; a thumbnail in colour settles whether
it is the same picture, and its contrast and mean colour keep plain pictures apart.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from finetune.data.media import decode_image
from finetune.data.near.clusters import Near
from finetune.data.near.vectors import Print, near_prints
from finetune.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

THRESHOLD = 0.99
"""At 0.98 different trousers of 28 × 28 pixels are already one: docs/near_duplicates.md."""
THUMBNAIL = 16
TOLERANCES = (20.0, 20.0, 20.0, 0.2)
"""How far apart the mean of red, green and blue may be, of 255, and the logarithm of the sides'
ratio. Brightness + 5 % moves a mean by 13 at most."""


def find_near_pictures(
    columns: Iterable[pa.ChunkedArray | pa.Array],
    *,
    threshold: float = THRESHOLD,
    workers: int | None = None,
) -> Near:
    """Find rows whose picture is almost the same.

    Args:
        columns: Structs of bytes and path, rows numbered through. Rows that are null or cannot be
            decoded are not compared.
        threshold: Least correlation of the thumbnails.
        workers: Threads.
    """
    structs = (value for column in columns for value in column)
    with ThreadPoolExecutor(workers or min(4, os.cpu_count() or 1)) as pool:
        return near_prints(list(pool.map(_print, structs)), TOLERANCES, threshold)


def _print(value: Any) -> Print | None:
    import numpy as np
    import PIL.Image

    struct = value.as_py()
    if not struct or not struct["bytes"]:
        return None
    try:
        image = decode_image(struct)
    except DataError:
        return None
    state = blake2b(repr(image.size).encode() + image.tobytes(), digest_size=8).digest()
    small = PIL.Image.Resampling.BOX
    thumbnail = np.asarray(image.resize((THUMBNAIL, THUMBNAIL), small))
    grey = image.convert("L")
    steps = np.asarray(grey.resize((9, 8), small)).astype(np.int16)
    waves = _cosines() @ np.asarray(grey.resize((32, 32), small)).astype(float) @ _cosines().T
    bits = np.concatenate(
        [(steps[:, 1:] > steps[:, :-1]).ravel(), (waves > np.median(waves)).ravel()]
    )
    ratio = np.log(image.width / image.height)
    measures = np.append(thumbnail.reshape(-1, 3).mean(0), ratio)
    return Print(int.from_bytes(state, "little"), bits, thumbnail.ravel(), measures)


@cache
def _cosines() -> np.ndarray[Any, Any]:
    """Return the lowest frequencies of the cosine transform but the constant, shape (8, 32)."""
    import numpy as np

    table: np.ndarray[Any, Any] = np.cos(
        np.pi / 32 * (np.arange(32) + 0.5) * np.arange(1, 9)[:, None]
    )
    return table
