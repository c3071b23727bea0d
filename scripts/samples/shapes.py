"""Write the shapes sample: pictures of two coloured shapes, and captions that say how they lie.

    python scripts/samples/shapes.py [OUT]           # rewrites finetune/data/samples/shapes

"a small red circle above a large blue square" names size, colour and shape of both and where the
first lies; nothing else tells a picture from the next, so retrieval has to put the words together.
Shapes are turned, shifted and tinted a little, on one of three kinds of background.
"""

from __future__ import annotations

import io
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SEED = 64
ROWS = 1_000
SIDE = 48  # pixels
OUT = Path(__file__).resolve().parents[2] / "finetune/data/samples/shapes"

SIZES = {"small": (4.5, 6.0), "large": (9.0, 11.0)}  # radius in pixels
COLOURS = {
    "red": (225, 40, 45),
    "green": (40, 170, 70),
    "blue": (50, 80, 230),
    "yellow": (240, 220, 50),
    "purple": (150, 60, 190),
    "orange": (245, 140, 30),
}
SHAPES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "circle": lambda x, y: x**2 + y**2 < 1,
    "square": lambda x, y: np.maximum(abs(x), abs(y)) < 0.85,
    "triangle": lambda x, y: (y < 0.75) & (y > 2 * abs(x) - 1.0),
    "diamond": lambda x, y: 1.7 * abs(x) + abs(y) < 1.1,
    "cross": lambda x, y: (np.minimum(abs(x), abs(y)) < 0.3) & (np.maximum(abs(x), abs(y)) < 1),
    "ring": lambda x, y: (x**2 + y**2 < 1) & (x**2 + y**2 > 0.35),
}
RELATIONS = {"above": (0, -1), "below": (0, 1), "left of": (-1, 0), "right of": (1, 0)}
BACKGROUNDS = ("dark", "light", "speckled")


def background(kind: str, draw: np.random.Generator) -> np.ndarray:
    """Return an empty picture (SIDE, SIDE, 3), 0 to 255."""
    grey = draw.uniform(205, 245) if kind == "light" else draw.uniform(10, 45)
    picture = np.full((SIDE, SIDE, 3), grey) + draw.uniform(-8, 8, 3)
    if kind == "speckled":
        picture += 100 * (draw.random((SIDE, SIDE, 1)) < 0.08)
    return picture


def paint(
    picture: np.ndarray,
    shape: str,
    colour: str,
    *,
    radius: float,
    centre: tuple[float, float],
    draw: np.random.Generator,
) -> None:
    """Draw one shape into a picture in place, four samples a pixel against jagged edges."""
    fine = (np.arange(2 * SIDE) + 0.5) / 2
    turn = draw.uniform(-0.2, 0.2)
    x, y = (fine[None, :] - centre[0]) / radius, (fine[:, None] - centre[1]) / radius
    mask = SHAPES[shape](
        x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    ).astype(float)
    cover = mask.reshape(SIDE, 2, SIDE, 2).mean((1, 3))[..., None]
    tint = np.array(COLOURS[colour]) + draw.uniform(-15, 15, 3)
    picture[:] = picture * (1 - cover) + tint * cover


def centres(
    relation: str, radii: tuple[float, float], draw: np.random.Generator
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return where two shapes lie so that the relation holds and nothing overlaps or is cut off."""
    step = np.array(RELATIONS[relation], float)
    across = step[::-1]
    gap = draw.uniform(1, SIDE - 2 - 2 * sum(radii))  # what the two shapes leave free on their axis
    edge = draw.uniform(1, SIDE - 1 - 2 * sum(radii) - gap)
    first, second = edge + radii[0], edge + 2 * radii[0] + gap + radii[1]
    if step.sum() > 0:
        first, second = SIDE - first, SIDE - second
    lanes = [draw.uniform(radius + 1, SIDE - radius - 1) for radius in radii]
    # Side by side rather than askew, so that "above" is never as good a word as "left of".
    middle = sum(lanes) / 2
    lanes = [float(np.clip(middle + draw.uniform(-3, 3), r + 1, SIDE - r - 1)) for r in radii]
    spots = [
        abs(step) * along + abs(across) * lane
        for along, lane in zip((first, second), lanes, strict=True)
    ]
    return (float(spots[0][0]), float(spots[0][1])), (float(spots[1][0]), float(spots[1][1]))


def png(picture: np.ndarray) -> bytes:
    """Return a picture as PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def row(index: int) -> dict[str, Any]:
    """Return one row; its own seed makes it independent of the others."""
    words, draw = random.Random(SEED * 100_000 + index), np.random.default_rng([SEED, index])
    sizes = [words.choice(list(SIZES)) for _ in range(2)]
    colours = words.sample(list(COLOURS), 2)
    shapes = [words.choice(list(SHAPES)) for _ in range(2)]
    relation, kind = words.choice(list(RELATIONS)), words.choice(BACKGROUNDS)
    first, second = (
        f"a {size} {colour} {shape}"
        for size, colour, shape in zip(sizes, colours, shapes, strict=True)
    )
    radii = (draw.uniform(*SIZES[sizes[0]]), draw.uniform(*SIZES[sizes[1]]))
    picture = background(kind, draw)
    for shape, colour, radius, centre in zip(
        shapes, colours, radii, centres(relation, radii, draw), strict=True
    ):
        paint(picture, shape, colour, radius=radius, centre=centre, draw=draw)
    return {
        "image": {"bytes": png(picture), "path": f"{index:04d}.png"},
        "text": f"{first} {'to the ' if ' of' in relation else ''}{relation} {second}",
        "background": kind,
    }


def rows() -> list[dict[str, Any]]:
    """Return the sample's rows."""
    return [row(index) for index in range(ROWS)]


def main(out: Path = OUT) -> None:
    """Write ``shapes.parquet`` into a folder."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        {
            "image": pa.struct({"bytes": pa.binary(), "path": pa.string()}),
            "text": pa.string(),
            "background": pa.string(),
        }
    )
    out.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows(), schema), out / "shapes.parquet")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
