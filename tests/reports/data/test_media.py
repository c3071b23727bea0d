"""Media: sizes of pictures and seconds of recordings, from either place where they stand."""

from __future__ import annotations

from finetune.reports.data.media import pictures, recordings

from . import audits


def test_sizes_of_pictures_are_said_once_where_all_are_alike():
    assert dict(pictures(audits.full())) == {
        "Pictures": "600",
        "Width": "28 to 640 pixels, half at most 64",
        "Height": "28 pixels",
        "Formats": "PNG (600)",
    }


def test_recordings_as_the_model_takes_them_go_before_those_in_the_files():
    rows = dict(recordings(audits.full()))
    assert rows["Together"] == "1 h 01 min"
    assert rows["Longer than 30 s"] == "3 recordings"
    assert rows["Sampling rates"] == "8000 Hz (600)"
    audit = audits.full()
    del audit["tokens"]
    assert dict(recordings(audit))["Together"] == "4 min 00 s"


def test_without_media_there_is_nothing_to_say():
    assert pictures({}) == recordings({}) == []
    assert pictures({"pictures": {"width": 3}}) == []
