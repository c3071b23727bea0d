"""Near-duplicates of pictures: copies are found, plain and merely alike ones are not."""

import io

import numpy as np
import PIL.Image
import PIL.ImageEnhance
import pyarrow as pa
import pytest

from finetune.data.media import media_type
from finetune.data.near.pictures import find_near_pictures


def encoded(image, format="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def column(files):
    rows = [None if data is None else {"bytes": data, "path": None} for data in files]
    return pa.array(rows, media_type())


def scene(seed, size=(120, 90)):
    noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return PIL.Image.fromarray(noise).resize(size, PIL.Image.Resampling.BICUBIC)


def rotated(image):
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    return encoded(image.transpose(PIL.Image.Transpose.ROTATE_90), "JPEG", exif=exif, quality=95)


CHANGES = {
    "JPEG": lambda image: encoded(image, "JPEG", quality=60),
    "resized": lambda image: encoded(image.resize((108, 81))),
    "brighter": lambda image: encoded(PIL.ImageEnhance.Brightness(image).enhance(1.05)),
    "turned by EXIF": rotated,
}


@pytest.mark.parametrize("change", CHANGES)
def test_copies_are_found_and_different_scenes_are_not(change):
    scenes = [scene(seed) for seed in range(40)]
    files = [encoded(image) for image in scenes] + [CHANGES[change](image) for image in scenes]
    clusters = find_near_pictures([column(files)]).clusters
    assert clusters[:40].tolist() == clusters[40:].tolist() == list(range(40))


def test_plain_pictures_are_near_only_in_the_same_colour(png):
    files = [
        png((255, 0, 0)),
        png((0, 255, 0)),
        png((254, 0, 0), (8, 8)),
        png((0, 0, 0)),
        png((90, 90, 90)),
    ]
    assert find_near_pictures([column(files)]).clusters.tolist() == [0, -1, 0, -1, -1]


def test_the_same_shape_in_another_colour_is_another_picture():
    def dot(colour):
        pixels = np.full((40, 40, 3), 255, np.uint8)
        pixels[10:30, 10:30] = colour
        return encoded(PIL.Image.fromarray(pixels))

    assert find_near_pictures([column([dot((200, 0, 0)), dot((0, 102, 0))])]).clusters.tolist() == [
        -1,
        -1,
    ]


def test_what_is_missing_or_broken_is_not_compared(png):
    files = [None, b"", b"no picture", png(), png(), None]
    found = find_near_pictures([column(files[:3]), column(files[3:])])
    assert found.clusters.tolist() == [-1, -1, -1, 0, 0, -1]
    assert find_near_pictures([]).clusters.tolist() == []


@pytest.mark.parametrize(("change", "least"), [("JPEG", 0.9), ("resized", 0.9), ("brighter", 0.95)])
def test_planted_copies_of_real_pictures_are_found(shared, change, least):
    paths = sorted((shared("image_text_fxemoji") / "test").glob("*.png"))
    images = [PIL.Image.open(path).convert("RGB") for path in paths]
    files = [path.read_bytes() for path in paths]
    files += [
        encoded(image.resize((round(image.width * 0.9), round(image.height * 0.9))))
        if change == "resized"
        else CHANGES[change](image)
        for image in images
    ]
    group = find_near_pictures([column(files)]).connected()
    assert np.mean(group[: len(images)] == group[len(images) :]) >= least


def test_different_garments_are_not_near(shared):
    paths = sorted(shared("image_cls_fashion").rglob("*.png"))
    found = find_near_pictures([column([path.read_bytes() for path in paths])])
    assert (found.clusters >= 0).sum() == 0
