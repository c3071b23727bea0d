"""The augmenter: by seed, epoch, row and repetition alone, on what the model reads alone."""

from __future__ import annotations

import numpy as np
import pytest

from finetune.data.augmentation.augmenter import Augmenter, columns_of
from finetune.data.augmentation.pictures import PictureChanges
from finetune.data.augmentation.sound import SoundChanges
from finetune.data.augmentation.text import TextChanges
from finetune.data.kinds import Audio, Image, Label, Messages, Text
from finetune.data.media import decode_audio, decode_image
from finetune.errors import ConfigError

KINDS = {"text": Text(), "label": Label()}
ROWS = [{"id": str(n), "text": f"row {n} " + "word " * 20, "label": "x"} for n in range(9)]
KEYS = [(n, 2, 0) for n in range(9)]


def texts(rows):
    return [row["text"] for row in rows]


@pytest.fixture
def augmenter():
    return Augmenter(KINDS, 5, text=TextChanges(delete=0.3, swap=0.2))


def test_a_row_does_not_depend_on_its_neighbours(augmenter):
    whole = augmenter.rows(ROWS, KEYS)
    alone = [augmenter.rows([row], [key])[0] for row, key in zip(ROWS, KEYS, strict=True)]
    turned = augmenter.rows(ROWS[::-1], KEYS[::-1])[::-1]
    assert whole == alone == turned


def test_epoch_repetition_row_and_seed_each_change_the_draw(augmenter):
    row = ROWS[0]
    keys = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    found = texts(augmenter.rows([row] * 4, keys))
    other = Augmenter(KINDS, 6, text=augmenter.text)
    assert len({*found, *texts(other.rows([row], keys[:1]))}) == 5


def test_labels_ids_and_the_rows_themselves_stay(augmenter):
    before = [dict(row) for row in ROWS]
    found = augmenter.rows(ROWS, KEYS)
    assert before == ROWS
    assert [{**row, "text": ""} for row in found] == [{**row, "text": ""} for row in ROWS]
    assert texts(found) != texts(ROWS)


def test_only_what_the_model_reads_is_changed():
    assert columns_of({"source": Text(), "target": Text()}, "text") == ["source"]
    assert columns_of({"image": Image(), "text": Text()}, "text") == []
    assert columns_of({"image": Image(), "text": Text()}, "pictures") == ["image"]
    assert columns_of({"audio": Audio(), "text": Text()}, "sound") == ["audio"]
    assert columns_of({"messages": Messages()}, "text") == []


def test_a_text_into_which_answers_point_stays():
    assert columns_of({"question": Text(), "context": Text(), "answers": Text()}, "text") == []


def test_pictures_come_back_as_files(png):
    augmenter = Augmenter({"image": Image()}, 1, PictureChanges(rotate=30, color=0.3))
    row = {"image": {"bytes": png(size=(9, 7)), "path": "a.png"}}
    (found,) = augmenter.rows([row], [(0, 0, 0)])
    assert decode_image(found["image"]).size == (9, 7)
    assert found["image"]["bytes"] != row["image"]["bytes"]


def test_recordings_come_back_at_the_rate_of_the_model(wav):
    changes = SoundChanges(speed=0.2, noise=10)
    augmenter = Augmenter({"audio": Audio()}, 1, sound=changes, sampling_rate=16_000)
    (found,) = augmenter.rows([{"audio": {"bytes": wav(0.5), "path": None}}], [(0, 0, 0)])
    assert 6000 < len(decode_audio(found["audio"], 16_000)) < 11_000


def test_a_missing_value_stays_missing(augmenter):
    assert augmenter.rows([{"text": None, "label": "x"}], [(0, 0, 0)])[0]["text"] is None


def test_spectrograms_are_masked_and_samples_refused():
    augmenter = Augmenter({"audio": Audio()}, 1, sound=SoundChanges(mask_time=0.5))
    values = np.random.default_rng(0).normal(size=(8, 40)).astype(np.float32)
    item = {"input_features": values, "length": 3}
    keys = [(n, 0, 0) for n in range(5)]
    found = augmenter.features([item] * 5, keys)
    assert any((one["input_features"] != values).any() for one in found)
    assert all(one["length"] == 3 for one in found)
    assert item["input_features"] is values
    with pytest.raises(ConfigError, match="mask_time"):
        augmenter.features([{"input_values": values[0]}], keys[:1])


def test_without_masks_features_are_left_alone(augmenter):
    items = [{"input_ids": [1]}]
    assert augmenter.features(items, [(0, 0, 0)]) is items


def test_an_augmenter_without_changes_is_none():
    assert not Augmenter(KINDS, 1)
