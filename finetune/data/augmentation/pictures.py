"""Random changes of a picture: mirrored, turned, cropped, in other light; its size stays."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import PIL.Image


@dataclass(frozen=True)
class PictureChanges:
    """How pictures may change; without an argument they don't."""

    probability: float = 1.0
    """Share of the pictures that are changed at all."""
    flip: bool = False
    """Mirror half of them."""
    rotate: float = 0.0
    """Most degrees of a turn, either way."""
    crop: float = 0.0
    """Largest share of the area that is cut away."""
    color: float = 0.0
    """Largest change of brightness, contrast and saturation, as a share."""

    def __bool__(self) -> bool:
        return self.probability > 0 and bool(self.flip or self.rotate or self.crop or self.color)

    def apply(self, image: PIL.Image.Image, draw: np.random.Generator) -> PIL.Image.Image:
        """Return a changed picture of the same size.

        Args:
            image: In RGB.
            draw: The only source of chance; every kind of change draws from it in one order.
        """
        from PIL import Image, ImageOps

        if draw.random() >= self.probability:
            return image
        if self.flip and draw.random() < 0.5:
            image = ImageOps.mirror(image)
        if self.rotate:
            angle = float(draw.uniform(-self.rotate, self.rotate))
            image = image.rotate(angle, Image.Resampling.BILINEAR, fillcolor=mean_colour(image))
        if self.crop:
            image = cropped(image, float(draw.uniform(1 - self.crop, 1)), draw)
        if self.color:
            image = recoloured(image, self.color, draw)
        return image


def mean_colour(image: PIL.Image.Image) -> tuple[int, ...]:
    """Return the mean colour: corners that a turn leaves empty should not be a sign of one."""
    from PIL import ImageStat

    return tuple(round(value) for value in ImageStat.Stat(image).mean)


def cropped(image: PIL.Image.Image, share: float, draw: np.random.Generator) -> PIL.Image.Image:
    """Return a random part with this share of the area, at the size of the whole."""
    from PIL import Image

    width, height = (max(1, round(side * math.sqrt(share))) for side in image.size)
    left = int(draw.integers(image.width - width + 1))
    top = int(draw.integers(image.height - height + 1))
    box = (left, top, left + width, top + height)
    return image.resize(image.size, Image.Resampling.BILINEAR, box=box)


def recoloured(image: PIL.Image.Image, most: float, draw: np.random.Generator) -> PIL.Image.Image:
    """Return a picture with brightness, contrast and saturation changed."""
    from PIL import ImageEnhance

    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = enhance(image).enhance(float(draw.uniform(1 - most, 1 + most)))
    return image


def embedded(image: PIL.Image.Image) -> dict[str, Any]:
    """Return a picture as a row holds it: as a PNG file, which loses nothing."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=0)
    return {"bytes": buffer.getvalue(), "path": None}
