"""Summary: page one of a data report speaks of the data, and a tick means that nothing is open."""

from __future__ import annotations

from finetune.reports.data.summary import headline, sentences, tiles

from . import audits

SOUND = {
    "rows": {"read": 10, "kept": 10, "dropped": 0},
    "splits": {"train": 7, "validation": 1, "test": 2},
    "duplicates": {"exact": 0, "near": 0},
    "leakage": {"exact": 0, "near": 0},
}


def test_the_headline_counts_rows_splits_and_dangers():
    found = headline(audits.full())
    assert found.text == "1,112 rows in three splits, and seven things to look at first."
    assert found.tone == "bad"


def test_only_data_without_open_ends_get_a_tick():
    assert headline(SOUND).tone == "good"
    assert headline(SOUND).text == "10 rows in three splits; the checks found nothing wrong."
    unlooked = SOUND | {"duplicates": {"exact": 0, "near": None}}
    assert headline(unlooked).tone == "neutral"
    cells = [{"column": "a", "found": {"typo": 3}}]
    assert headline(SOUND | {"cells": cells}).tone == "neutral"


def test_the_sentences_say_what_was_dropped_repaired_and_left():
    said = " ".join(each.text for each in sentences(audits.full()))
    for words in (
        "190 rows of 1,302 (14.6\N{NO-BREAK SPACE}%) were dropped",
        "Put right: wrong encodings (31 rows)",
        "Found and left as it is: run of blanks (401), blank at an end (17)",
        "188 exact duplicates: removed",
        "23 near duplicates: kept",
        "1 label looks like another spelling",
        "695 cells in 1 column look wrong",
        "41 training rows written by a model",
    ):
        assert words in said


def test_the_tiles_are_rows_classes_repeats_leakage_and_lengths():
    found = {tile["label"]: tile for tile in tiles(audits.full())}
    assert found["Rows"]["value"] == "1,112"
    assert found["Training rows"]["note"] == "160 validation, 172 test"
    assert found["Classes"]["note"] == "12 to 700 rows"
    assert found["Repeated rows"]["note"] == "188 exact, 23 near"
    assert found["Pairs in two splits"]["tone"] == "bad"
    assert (
        found["Longest row in tokens"]["note"] == "limit 40; 1.9\N{NO-BREAK SPACE}% of the rows cut"
    )


def test_an_empty_audit_says_little_and_claims_nothing():
    assert tiles({}) == []
    (only,) = sentences({})
    assert only.text.startswith("Not looked for")
    assert headline({}).tone == "neutral"


def test_labels_that_nobody_can_judge_are_said_to_be_so():
    said = sentences({"label_error_search": {"examined": 160, "undecided": 73}})
    assert any("cannot be told from so little data" in each.text for each in said)
