"""Augmentation and synthetic rows: off unless asked for, and only within sensible bounds."""

from __future__ import annotations

import pytest


def test_nothing_is_changed_or_made_up_by_default(compose):
    data = compose().data
    assert data.synthesize.model is None
    assert vars(data.augment.pictures) == {
        "probability": 1.0,
        "flip": False,
        "rotate": 0.0,
        "crop": 0.0,
        "color": 0.0,
    }
    assert {value for key, value in vars(data.augment.sound).items() if key != "probability"} == {
        0.0,
        None,
    }
    assert data.augment.text.delete == data.augment.text.swap == 0.0


@pytest.mark.parametrize(
    "setting",
    [
        "data.augment.pictures.crop=1",
        "data.augment.pictures.probability=1.1",
        "data.augment.sound.speed=0.9",
        "data.augment.sound.mask_time=-0.1",
        "data.augment.text.delete=1",
        "data.synthesize.rows=0",
        "data.synthesize.temperature=0",
        "task.focal_gamma=-1",
        "task.class_weights=balanced",
        "task.class_weights={spam: heavy}",
        "train.sampling=blanced",
    ],
)
def test_values_beyond_the_bounds_are_refused_by_their_key(refused, setting):
    error = refused(setting)
    assert setting.split("=")[0] in error.problems[0]
    assert error.exit_code == 2


def test_a_misspelt_change_is_told_from_the_others(refused):
    assert "`data.augment.pictures.rotate`" in refused("data.augment.pictures.rotat=5").problems[0]
    assert "`balanced`" in refused("train.sampling=blanced").problems[0]


@pytest.mark.parametrize(
    "setting", ["task.class_weights={spam: 3, ham: 1}", "+task.class_weights.spam=3"]
)
def test_weights_are_given_as_a_mapping_or_label_by_label(compose, setting):
    assert compose(setting).task.class_weights["spam"] == 3.0


def test_weights_may_be_left_to_the_data(compose):
    assert compose("task.class_weights=auto").task.class_weights == "auto"
    assert compose("task.class_weights=null").task.class_weights is None
