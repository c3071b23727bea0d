"""Rare spellings near a common one are found; other things with like names are not."""

import pyarrow as pa
import pytest

from finetune.data.cells import typos
from finetune.data.cells.encoded import encode


def found(detector, *groups):
    values = [value for value, count in groups for _ in range(count)]
    column = encode("a", pa.array(values, pa.string()))
    result = detector(column, column.counts > 0)
    if result is None:
        return {}
    return {
        values[row]: proposal
        for row, proposal in zip(result.rows, result.proposals.to_pylist(), strict=True)
    }


@pytest.mark.parametrize(
    ("rare", "common"),
    [
        ("birminghxm", "birmingham"),
        ("flornce", "florence"),
        ("florennce", "florence"),
        ("lfaky roof", "leaky roof"),
        ("heatr failure", "heart failure"),
        ("acutexcarexhospitals", "acute care hospitals"),
        ("axi-4", "ami-4"),
        ("münchn", "münchen"),
    ],
)
def test_a_rare_value_near_a_common_one_is_a_typo(rare, common):
    assert found(typos.typos, (common, 40), ("something else", 40), (rare, 1)) == {rare: common}


@pytest.mark.parametrize(
    ("rare", "common"),
    [
        ("room 2", "room 1"),
        ("35957", "35951"),
        ("ami-4", "ami-5"),
        ("american pale wheat ale", "american dark wheat ale"),
        ("ga", "ca"),
        ("bend", "bath"),
        ("1.5 litres", "15 litres"),
    ],
)
def test_a_rare_value_that_is_another_thing_is_none(rare, common):
    others = [("pale ale", 40), ("pale cider", 20), ("wy", 20), ("ny", 20), ("tx", 20)]
    assert found(typos.typos, (common, 40), (rare, 1), *others) == {}


def test_a_short_slip_is_found_where_there_are_few_answers():
    assert found(typos.typos, ("yes", 80), ("no", 40), ("yxs", 1)) == {"yxs": "yes"}


def test_a_slip_between_two_right_spellings_proposes_neither():
    assert found(typos.typos, ("hf-1", 40), ("hf-2", 40), ("hf-x", 1), ("other", 40)) == {
        "hf-x": None
    }


def test_spellings_that_differ_in_case_space_or_accents_are_one():
    groups = [("São Paulo", 9), ("sao paulo", 2), ("São  Paulo ", 1), ("Rio", 5)]
    assert found(typos.variants, *groups) == {
        "sao paulo": "São Paulo",
        "São  Paulo ": "São Paulo",
    }


def test_signs_that_carry_meaning_keep_values_apart():
    assert found(typos.variants, ("C", 5), ("C++", 3), ("C#", 2), ("1.5", 1), ("15", 1)) == {}


def test_nothing_is_said_about_nothing():
    assert found(typos.typos) == found(typos.variants) == {}
