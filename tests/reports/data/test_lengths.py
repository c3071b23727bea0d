"""Lengths: the histogram lies within its box, the limit is marked, every loss is said."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from finetune.reports.data.lengths import histogram, lengths

from . import audits


@given(
    st.integers(0, 10**6), st.integers(1, 5000), st.lists(st.integers(0, 10**7), min_size=1),
    st.integers(1, 10**7),
)  # fmt: skip
def test_every_bar_and_mark_lies_within_the_plot(low, width, counts, limit):
    bins = [[low + n * width, low + (n + 1) * width - 1, c] for n, c in enumerate(counts)]
    tokens = {"histogram": bins, "p50": low, "p95": bins[-1][1], "limit": limit}
    plot = histogram(tokens)
    assert len(plot.blocks) == sum(c > 0 for c in counts)
    for block in plot.blocks:
        assert block.left >= -0.01
        assert block.left + block.width <= 100.1
        assert 0 < block.height <= 100.01 or block.height == 0
    assert all(-0.01 <= mark.at <= 100.01 for mark in plot.marks)
    texts = [tick.text for tick in plot.x.ticks]
    assert len(texts) == len(set(texts))


def test_ticks_are_whole_numbers():
    plot = histogram({"histogram": [[7, 7, 1], [8, 8, 2]]})
    assert not any("." in tick.text for axis in (plot.x, plot.y) for tick in axis.ticks)


def test_rows_beyond_the_limit_stand_out_and_the_limit_is_marked():
    plot = histogram(audits.full()["tokens"])
    assert [block.beyond for block in plot.blocks] == [False] * 4 + [True] * 2
    assert [mark.text for mark in plot.marks] == [
        "half 14", "95\N{NO-BREAK SPACE}% 31", "limit 40",
    ]  # fmt: skip
    assert "limit 40" in plot.summary


def test_one_long_row_does_not_press_the_others_into_one_bar():
    bins = [[3, 1082, 160], [1083, 2162, 0], [20523, 21602, 2]]
    tokens = {"histogram": bins, "p50": 26, "p95": 7901, "limit": 128}
    plot = histogram(tokens)
    assert plot.x.logarithmic
    assert plot.blocks[0].width > 50
    assert [tick.text for tick in plot.x.ticks] == ["1", "10", "100", "1,000", "10,000", "100,000"]
    half, most, limit = (mark.at for mark in plot.marks)
    assert half + 10 < limit < most - 10


def test_a_limit_far_away_does_not_squeeze_the_bars():
    plot = histogram({"histogram": [[1, 9, 5]], "limit": 8192})
    assert plot.x.high < 20
    assert not plot.marks


def test_what_was_lost_is_said_with_its_share():
    facts = {name: (value, tone) for name, value, tone in lengths(audits.full())["facts"]}
    assert facts["Cut at the limit"] == ("21 rows (1.9\N{NO-BREAK SPACE}%)", "bad")
    assert facts["Lost by that"] == ("190 tokens", "bad")
    assert facts["Divided into several"] == ("3 rows", "")
    assert facts["The limit is"] == ("40 tokens", "")


def test_padding_is_shown_for_both_orders():
    assert [each["text"] for each in lengths(audits.full())["padding"]] == [
        "45.1\N{NO-BREAK SPACE}%",
        "3.1\N{NO-BREAK SPACE}%",
    ]


def test_rows_that_were_not_measured_have_no_lengths():
    unmeasured = {"p50": 0, "max": 0, "limit": None, "truncated_rows": 0, "histogram": []}
    assert lengths({"tokens": unmeasured}) is None
    assert lengths({}) is None


def test_broken_bins_are_left_out():
    plot = histogram({"histogram": [[1, 2], "x", [5, 4, 1], [3, 4, None], [5, 6, 7], [5, 6, -1]]})
    assert len(plot.blocks) == 1
