"""From settings to an augmenter, and what is refused before any row is read."""

from __future__ import annotations

import pytest

from finetune.errors import ConfigError
from finetune.stages import augmentation
from tests.contracts.cases import TAGS, compose

SETTINGS = {
    "pictures": "data.augment.pictures.flip=true",
    "sound": "data.augment.sound.speed=0.1",
    "text": "data.augment.text.delete=0.1",
}
ABLE = {
    "text-classification": {"text"},
    "text2text-generation": {"text"},
    "text-generation": set(),
    "zero-shot-image-classification": {"pictures"},
    "automatic-speech-recognition": {"sound"},
}


def test_by_default_nothing_is_changed(tmp_path):
    for tag in TAGS:
        config = compose(tag, tmp_path)
        augmentation.check(config)
        assert augmentation.augmenter(config) is None


@pytest.mark.parametrize("tag", sorted(ABLE))
@pytest.mark.parametrize("modality", SETTINGS)
def test_what_a_task_does_not_read_cannot_be_changed(tag, modality, tmp_path):
    config = compose(tag, tmp_path, SETTINGS[modality])
    if modality in ABLE[tag]:
        augmentation.check(config)
        assert augmentation.augmenter(config)
        return
    with pytest.raises(ConfigError, match=rf"`data.augment.{modality}` is set, but {tag}"):
        augmentation.check(config)


def test_a_task_without_labels_cannot_be_balanced(tmp_path):
    with pytest.raises(ConfigError, match="needs a label"):
        augmentation.check(compose("text-generation", tmp_path, "train.sampling=balanced"))
    augmentation.check(compose("text-classification", tmp_path, "train.sampling=balanced"))


def test_every_setting_reaches_what_it_changes(tmp_path):
    text = "data.augment.text"
    found = augmentation.settings(
        compose(
            "text-classification",
            tmp_path,
            "seed=7",
            f"{text}.probability=0.5",
            f"{text}.delete=0.1",
            f"{text}.swap=0.2",
            f"{text}.protected=[not,no]",
        )
    )
    assert found.seed == 7
    assert vars(found.text) == {
        "probability": 0.5,
        "delete": 0.1,
        "swap": 0.2,
        "protected": ("not", "no"),
    }


def test_values_out_of_range_are_refused_by_name(tmp_path):
    with pytest.raises(ConfigError) as caught:
        compose(
            "text-classification",
            tmp_path,
            "data.augment.text.delete=0.9",
            "data.augment.pictures.rotate=-1",
        )
    assert len(caught.value.problems) == 2
