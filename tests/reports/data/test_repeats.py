"""Repeats: counts, clusters and leaking pairs by ids; what was not looked for is said."""

from __future__ import annotations

from finetune.reports.data.repeats import repeats

from . import audits


def test_leakage_that_is_still_there_alarms_and_leakage_that_was_removed_does_not():
    checks = {check["name"]: check for check in repeats(audits.full())["checks"]}
    assert not checks["Pairs in two splits, identical"]["bad"]
    assert "removed" in checks["Pairs in two splits, identical"]["note"]
    assert checks["Pairs in two splits, nearly identical"]["bad"]
    note = checks["Pairs in two splits, nearly identical"]["note"]
    assert note == "rows concerned: 5 in test, 8 in train"
    assert checks["Exact duplicates"]["note"] == "removed"
    assert checks["Near duplicates"]["note"] == "kept"


def test_a_check_that_was_not_made_is_not_a_check_that_found_nothing():
    found = repeats({"duplicates": {"exact": 0, "near": None}, "leakage": {"exact": 0}})
    assert [check["count"] for check in found["checks"]] == ["0", "0"]
    assert found["unmade"] == ["Near duplicates", "Pairs in two splits, nearly identical"]


def test_clusters_and_pairs_are_named_by_ids():
    found = repeats(audits.full())
    assert found["clusters"][0]["ids"][:2] == ["a.csv:2", "a.csv:3"]
    assert found["clusters"][0]["more"] == 8
    assert [pair["ids"] for pair in found["pairs"]] == [
        ["a.csv:60", "a.csv:61"],
        ["a.csv:70", "a.csv:71"],
    ]


def test_strange_clusters_and_pairs_are_left_out():
    strange = {"duplicates": {"exact": 1, "clusters": [3, ["a", None], []]},
               "leakage": {"exact": 1, "pairs": [["a"], "bc", None], "rows": 7}}  # fmt: skip
    found = repeats(strange)
    assert [each["ids"] for each in found["clusters"]] == [["a"]]
    assert found["pairs"] == []


def test_nothing_looked_for_is_no_section():
    assert repeats({}) is None
