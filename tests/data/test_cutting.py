"""Cutting: given splits stay, time and folds are kept to, working columns go."""

import pytest

from finetune.data.kinds import Label, Text
from finetune.data.prepare import SplitOptions, prepare
from finetune.errors import ConfigError, DataError

KINDS = {"text": Text(), "label": Label()}


def rows(count, start=0):
    return [
        {
            "text": f"text {n}",
            "label": "ab"[n % 2],
            "day": f"2026-01-{n % 28 + 1:02}",
            "who": f"c{n % 7}",
        }
        for n in range(start, start + count)
    ]


def test_by_time_the_test_is_newer_than_what_trains():
    prepared = prepare(
        kinds=KINDS, rows=rows(100), keep=("day",), split=SplitOptions(time="day")
    )  # fmt: skip
    days = {name: part["day"] for name, part in prepared.splits.items()}
    assert max(days["train"]) < min(days["validation"])
    assert max(days["validation"]) < min(days["test"])


def test_by_time_what_repeats_later_is_said_to_leak():
    twice = [*rows(28), {"text": "text 0", "label": "a", "day": "2026-02-01", "who": "c"}]
    prepared = prepare(kinds=KINDS, rows=twice, split=SplitOptions(time="day"))
    assert prepared.audit["leakage"]["exact"] == 1


def test_over_all_folds_every_row_is_tested_once():
    tested = []
    for fold in range(4):
        options = SplitOptions(folds=4, fold=fold)
        prepared = prepare(kinds=KINDS, rows=rows(100), split=options)
        tested += prepared.splits["test"]["text"]
        assert sum(len(part) for part in prepared.splits.values()) == 100
    assert sorted(tested) == sorted(row["text"] for row in rows(100))


def test_a_group_is_in_one_split():
    options = SplitOptions(group_by="who")
    prepared = prepare(kinds=KINDS, rows=rows(200), keep=("who",), split=options)
    seen = [set(part["who"]) for part in prepared.splits.values()]
    assert not seen[0] & seen[1]
    assert not (seen[0] | seen[1]) & seen[2]
    assert "__group__" not in prepared.splits["train"].column_names


def test_two_ways_of_cutting_are_refused_before_anything_is_read(tmp_path):
    with pytest.raises(ConfigError):
        prepare(kinds=KINDS, path=tmp_path / "nowhere.csv", split=SplitOptions(time="a", folds=2))


def test_a_split_that_would_stay_empty_is_refused():
    with pytest.raises(DataError, match="too few rows"):
        prepare(kinds={"text": Text()}, rows=rows(2))
