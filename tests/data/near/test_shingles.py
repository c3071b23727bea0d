"""Shingles: bags compared as sets, the same as a few plain lines of Python would have them."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.data.near.shingles import LENGTH, NUMBER_WEIGHT, jaccard, shingled, together


def of(*texts):
    return shingled(pa.array(texts, pa.large_string()))


def likeness(one, other):
    return float(jaccard(of(one, other), np.array([0]), np.array([1]))[0])


def plain(text):
    padded = f"\n{text.ljust(LENGTH - 2, chr(10))}\n" if text else ""
    bag = Counter(padded[at : at + LENGTH] for at in range(len(padded) - LENGTH + 1))
    number = ""
    for letter in f"{text} ":
        if letter.isdecimal():
            number += letter
        elif number:
            bag[("number", number)] += NUMBER_WEIGHT
            number = ""
    return bag


letters = st.text(st.sampled_from("abc 01é🙂"), max_size=30).map(str.strip)


@given(one=letters, other=letters)
def test_likeness_is_that_of_bags_of_shingles(one, other):
    left, right = plain(one), plain(other)
    # A number in both counts as often as in the one that has it less often.
    union = (left | right).total()
    expected = (left & right).total() / union if union else 1.0
    assert likeness(one, other) == pytest.approx(expected)


@given(st.lists(letters, max_size=8))
def test_a_text_has_the_same_shingles_alone_and_in_company(texts):
    sets = of(*texts)
    assert len(sets.offsets) == len(texts) + 1
    for row, text in enumerate(texts):
        values = sets.values[sets.offsets[row] : sets.offsets[row + 1]]
        assert sorted(values.tolist()) == sorted(of(text).values.tolist())
        assert len(values) == plain(text).total()


def test_a_number_weighs_more_than_the_shingles_it_touches():
    assert likeness("we met on day 12 of may", "we met on day 13 of may") < 0.5
    assert likeness("we met on day ab of may", "we met on day ac of may") > 0.6


def test_inputs_and_targets_are_told_apart():
    one = together(of("abcdef", "xyzxyz"), of("xyzxyz", "abcdef"))
    assert float(jaccard(one, np.array([0]), np.array([1]))[0]) == 0
    assert one.sizes().tolist() == [2 * size for size in of("abcdef", "abcdef").sizes().tolist()]
