"""Cells: findings by column with ids, never a cell."""

from __future__ import annotations

from finetune.reports.data.cells import cells, found

from . import audits


def test_each_column_names_its_findings_with_ids_the_commonest_first():
    price, city = cells(audits.full())["rows"]
    assert [each["name"] for each in price["findings"]] == ["unit beside the number", "outlier"]
    assert price["findings"][0]["count"] == "693"
    assert price["findings"][0]["ids"] == ["a.csv:5", "a.csv:8"]
    assert price["missing"] == "62 (4.8\N{NO-BREAK SPACE}%)"
    assert city["findings"] == []


def test_what_is_known_of_a_column_is_said_without_its_cells():
    price = cells(audits.full())["rows"][0]
    assert price["notes"] == ["has a unit", "always the same", "same as amount",
                              "follows from city"]  # fmt: skip
    assert "CanaryUnit" not in repr(price)


def test_findings_are_summed_over_splits_and_columns_counted_once():
    entries = [{"split": s, "column": "a", "found": {"typo": 2}} for s in ("train", "test")]
    assert found({"cells": [*entries, {"column": "b", "found": {}}]}) == (4, 1)


def test_no_column_looked_at_is_no_table():
    assert cells({}) is None
    assert cells({"cells": []}) is None


def test_a_strange_entry_is_shown_as_far_as_it_goes():
    (row,) = cells({"cells": [{"column": 7, "found": [1], "examples": 3, "missing": "x"}]})["rows"]
    assert row["column"] == "7"
    assert row["missing"] == "–"
