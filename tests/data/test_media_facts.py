"""Sizes of pictures and lengths of recordings are those of the files."""

import pyarrow as pa

from finetune.data.media import media_type
from finetune.data.media_facts import picture_facts, recording_facts


def column(*files):
    values = [None if data is None else {"bytes": data, "path": None} for data in files]
    return pa.chunked_array([pa.array(values, media_type())])


def test_pictures_are_measured_without_those_that_are_missing(png):
    found = picture_facts(
        [
            column(png(size=(4, 8)), None),
            column(png(size=(10, 6)), png((1, 2, 3), (6, 6), format="JPEG")),
        ]
    )
    assert found == {
        "rows": 3,
        "width": {"min": 4, "p50": 6, "max": 10},
        "height": {"min": 6, "p50": 6, "max": 8},
        "formats": {"PNG": 2, "JPEG": 1},
    }


def test_recordings_are_measured(wav):
    found = recording_facts([column(wav(seconds=1.0), wav(seconds=31.0, rate=4000))])
    assert found["seconds"] == {"min": 1.0, "p50": 31.0, "max": 31.0}
    assert (found["beyond_30"], found["total_seconds"]) == (1, 32.0)
    assert found["sampling_rates"] == {"8000": 1, "4000": 1}


def test_no_media_are_no_error():
    assert picture_facts([])["rows"] == 0
    assert recording_facts([column(None)])["seconds"] is None
