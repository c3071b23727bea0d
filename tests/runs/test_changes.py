"""Which settings make two configurations different runs."""

from __future__ import annotations

from finetune.runs.changes import IRRELEVANT, changed_keys


def test_keys_that_come_and_go_are_changes_too():
    assert changed_keys("a: {b: 1}\n", "a: {c: 2}\n") == [
        ("a.b", "1", "null"),
        ("a.c", "null", "2"),
    ]
    assert changed_keys("run: {dir: x}\n", "run: {dir: y}\n") == []


def test_where_a_run_is_kept_and_how_it_is_shown_are_no_changes():
    for section in IRRELEVANT:
        assert changed_keys(f"{section}: {{x: 1}}\n", f"{section}: {{x: 2}}\n") == []
    assert changed_keys("train: {x: 1}\n", "train: {x: 2}\n")
