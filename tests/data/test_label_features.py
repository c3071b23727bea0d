"""Pictures and recordings become rows of numbers by which wrong labels show."""

import numpy as np
import pyarrow as pa

from finetune.data.label_features import picture_features, sound_features
from finetune.data.media import media_type
from tests.data.test_label_errors import measured


def media(values):
    structs = [None if value is None else {"bytes": value, "path": ""} for value in values]
    return pa.array(structs, media_type())


def test_a_picture_is_256_grey_values(png):
    column = media([png((255, 255, 255)), png((0, 0, 0), size=(40, 30))])
    features = picture_features([column])
    assert features.shape == (2, 256)
    assert (features[0] == 255).all()
    assert (features[1] == 0).all()


def test_a_recording_is_the_same_row_at_any_gain_and_rate(wav):
    features = sound_features([media([wav(frequency=500), wav(frequency=500, rate=16000)])])
    assert features.shape == (2, 160)
    assert np.corrcoef(features)[0, 1] > 0.98


def test_what_cannot_be_read_is_not_a_number(png, wav):
    assert np.isnan(picture_features([media([None, b"", b"no picture"])])).all()
    assert np.isnan(sound_features([media([None, b"", b"no sound"])])).all()
    assert not np.isnan(picture_features([media([png()]), media([png()])])).any()
    assert picture_features([]).shape == (0, 256)


def test_flipped_labels_of_real_garments_are_found(shared):
    paths = sorted((shared("image_cls_fashion") / "train").glob("*/*.png"))
    features = picture_features([media([path.read_bytes() for path in paths])])
    precision, recall, first = measured(features, [path.parent.name for path in paths])
    assert recall > 0.8
    assert first > 0.6
    assert precision > 0.25  # Shirt, coat and pullover are one to a linear model of 256 pixels.


def test_flipped_labels_of_real_digits_are_found(shared):
    paths = sorted((shared("asr_fsdd") / "train").glob("*.wav"))
    features = sound_features([media([path.read_bytes() for path in paths])])
    precision, recall, first = measured(features, [path.name[0] for path in paths])
    assert min(recall, first) > 0.6
    assert precision > 0.75
