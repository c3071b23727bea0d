"""Cutting by time: the past never holds a row that is newer than the future's oldest."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.data.timeline import cut_by_time, instants
from finetune.errors import DataError

SHARES = {"train": 0.7, "validation": 0.15, "test": 0.15}


@given(st.lists(st.integers(0, 50), min_size=10, max_size=200))
@settings(max_examples=80, deadline=None)
def test_the_past_trains_and_equal_times_stay_together(times):
    chosen, spans = cut_by_time(times, SHARES)
    order = list(SHARES)
    for early, one in zip(times, chosen, strict=True):
        for late, other in zip(times, chosen, strict=True):
            if early < late:
                assert order.index(one) <= order.index(other)
            elif early == late:
                assert one == other
    assert set(chosen) == set(spans)


def test_distinct_times_meet_the_shares():
    chosen, spans = cut_by_time(list(range(100)), SHARES)
    assert [chosen.count(split) for split in SHARES] == [70, 15, 15]
    assert spans == {"train": (0, 69), "validation": (70, 84), "test": (85, 99)}


@pytest.mark.parametrize(
    "values",
    [
        ["2026-01-31", "2026-02-01", "2026-02-01T10:00"],
        ["31.01.2026", "01.02.2026", "02.02.2026"],
        ["1/31/2026", "2/1/2026", "2/2/2026"],
        ["1", "2.5", "1e3"],
        [1, 2, 3],
        ["2026-01-31T12:00:00Z", "2026-01-31T15:00:00+01:00", "2026-02-01"],
    ],
)
def test_dates_and_numbers_grow_with_time(values):
    found = instants(values, ["a", "b", "c"], "when")
    assert found == sorted(found)
    assert len(set(found)) == 3


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (["2026-01-31", None], "missing in 1 row: b"),
        (["2026-01-31", "soon"], "neither dates nor numbers in 1 row: b"),
        (["01/02/2026", "03/04/2026"], "can be read as"),
    ],
)
def test_what_cannot_be_ordered_is_refused_with_its_row(values, says):
    with pytest.raises(DataError, match=says):
        instants(values, ["a", "b"], "when")
