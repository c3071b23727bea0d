"""Pictures: same size, same mode, changed as far as allowed and no farther."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from finetune.data.augmentation.pictures import PictureChanges, embedded
from finetune.data.media import decode_image

ALL = PictureChanges(flip=True, rotate=20, crop=0.3, color=0.4)


def picture(width=24, height=16, seed=0):
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def changed(changes, image, seed=0):
    return changes.apply(image, np.random.default_rng(seed))


def pixels(image):
    return np.asarray(image).astype(int)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 99))
def test_size_and_mode_stay_whatever_the_picture(width, height, seed):
    found = changed(ALL, picture(width, height), seed)
    assert found.size == (width, height)
    assert found.mode == "RGB"


def test_without_settings_or_chance_the_picture_stays():
    image = picture()
    assert not PictureChanges()
    assert not PictureChanges(flip=True, probability=0)
    assert changed(PictureChanges(), image) is image
    assert changed(PictureChanges(flip=True, probability=0), image) is image


def test_half_of_them_are_mirrored():
    image = picture()
    mirrored = [
        (pixels(changed(PictureChanges(flip=True), image, seed)) != pixels(image)).any()
        for seed in range(400)
    ]
    assert 160 < sum(mirrored) < 240


def test_probability_is_the_share_that_is_changed():
    image = picture()
    changes = PictureChanges(color=0.5, probability=0.25)
    assert 70 < sum(changed(changes, image, seed) is not image for seed in range(400)) < 130


def test_a_turn_leaves_no_black_corners():
    white = Image.new("RGB", (32, 32), (250, 250, 250))
    for seed in range(10):
        assert pixels(changed(PictureChanges(rotate=45), white, seed)).min() >= 249


def test_a_crop_shows_a_part_and_no_more_is_cut_than_allowed():
    ramp = Image.fromarray(np.tile(np.arange(100, dtype=np.uint8)[:, None, None], (1, 100, 3)))
    for seed in range(30):
        rows = pixels(changed(PictureChanges(crop=0.36), ramp, seed))[:, 0, 0]
        assert rows[-1] - rows[0] >= 100 * 0.8 - 3, "0.64 of the area is 0.8 of each side"


def test_light_changes_by_at_most_the_share():
    grey = Image.new("RGB", (8, 8), (100, 100, 100))
    values = [pixels(changed(PictureChanges(color=0.2), grey, s))[0, 0, 0] for s in range(50)]
    assert 79 <= min(values) < 90
    assert 110 < max(values) <= 121


def test_what_is_embedded_is_decoded_to_the_same_pixels():
    image = changed(ALL, picture(33, 17))
    assert (pixels(decode_image(embedded(image))) == pixels(image)).all()


def test_the_same_draw_gives_the_same_pixels():
    found = b"".join(changed(ALL, picture(), seed).tobytes() for seed in range(5))
    digest = hashlib.sha256(found).hexdigest()
    assert digest[:16] == "afee54be84ed49f6", "a change here changes every augmented run"


def test_the_real_fashion_pictures_stay_pictures(shared):
    file = next((shared("image_cls_fashion") / "train").rglob("*.png"))
    image = decode_image({"bytes": file.read_bytes(), "path": None})
    assert changed(ALL, image).size == image.size


@pytest.mark.parametrize("seed", range(3))
def test_other_draws_give_other_pictures(seed):
    assert changed(ALL, picture(), seed).tobytes() != changed(ALL, picture(), seed + 1).tobytes()
