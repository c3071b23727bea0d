"""Numbers are read as people write them, and what is written otherwise is found."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.data.cells import numbers
from finetune.data.cells.encoded import encode
from finetune.data.cells.profile import profile


def read(*texts):
    column = encode("a", pa.array(texts, pa.string()))
    return column, numbers.read(column), np.ones(len(column.values), bool)


def cells(found):
    return dict(zip(found.rows.tolist(), found.proposals.to_pylist(), strict=True))


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [
        ("12", 12, ""),
        (" -3.5 ", -3.5, ""),
        ("−7", -7, ""),
        ("1e5", 1e5, ""),
        (".5", 0.5, ""),
        ("12.0 oz. Alumi-Tek", 12, "oz. Alumi-Tek"),
        ("5%", 5, "%"),
        ("$1,234.50", 1234.5, "$"),
        ("3,75", 3.75, ""),
        ("1.234,50 €", 1234.5, "€"),
        ("1'000'000", 1e6, ""),
    ],
)
def test_a_number_is_read_with_its_unit(text, amount, unit):
    _, found, _ = read(text)
    assert found.amounts.tolist() == [amount]
    assert found.units.to_pylist() == [unit]


@pytest.mark.parametrize(
    "text", ["", "abc", "1.2.3", "2024-01-31", "10-15", "1720 blvd 5", "12:30", "9xx5", "١٢", "²"]
)
def test_what_only_looks_like_a_number_is_none(text):
    _, found, _ = read(text)
    assert np.isnan(found.amounts).all()


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e12, max_value=1e12))
def test_every_plain_number_is_read_as_python_reads_it(value):
    _, found, _ = read(repr(value))
    assert found.amounts[0] == pytest.approx(value, rel=1e-11)


def test_units_in_several_spellings_are_all_found():
    column, found, present = read("12.0 oz", "12 OZ.", "16.0 ounce", "8.4")
    wrong, unit = numbers.units(column, found, present)
    assert cells(wrong) == {0: "12", 1: "12", 2: "16"}
    assert unit == ""


def test_one_unit_throughout_belongs_to_the_column():
    column, found, present = read(*(f"{n} patients" for n in range(40)))
    assert numbers.units(column, found, present) == (None, "patients")


def test_a_slip_in_the_one_unit_is_found_and_a_foreign_one_not_converted():
    texts = [f"{n} patients" for n in range(400)]
    texts[3], texts[7], texts[9] = "3 paxients", "7 beds", "9"
    column, found, present = read(*texts)
    wrong, _ = numbers.units(column, found, present)
    assert cells(wrong) == {3: "3 patients", 7: None, 9: "9 patients"}


def test_a_percentage_among_fractions_is_divided():
    column, found, present = read("5%", "0.04", "0.06", "0.05")
    assert cells(numbers.units(column, found, present)[0]) == {0: "0.05"}


def test_a_percent_sign_behind_a_fraction_is_taken_off():
    column, found, present = read("0.05%", "0.04", "0.06", "0.055999999999999994%")
    assert cells(numbers.units(column, found, present)[0]) == {0: "0.05", 3: "0.056"}


def test_a_letter_stuck_to_a_number_proposes_nothing():
    texts = [str(number) for number in range(300)] + ["3595x"]
    column, found, present = read(*texts)
    assert cells(numbers.units(column, found, present)[0]) == {300: None}


def test_a_decimal_comma_among_points_is_found_and_the_reverse():
    column, found, present = read("1.5", "2.25", "3,75", "4")
    assert {f.kind: cells(f) for f in numbers.spellings(column, found, present)} == {
        "decimal_comma": {2: "3.75"}
    }
    column, found, present = read("1,5", "2,25", "3.75", "4")
    assert [f.kind for f in numbers.spellings(column, found, present)] == ["decimal_point"]


def test_a_column_of_decimal_commas_is_in_order():
    column, found, present = read("1,5", "2,25", "1.234,5", "4")
    assert numbers.spellings(column, found, present) == []
    assert found.amounts.tolist() == [1.5, 2.25, 1234.5, 4]


def test_a_comma_before_three_digits_is_read_as_the_column_is_written():
    assert read("1,234", "2.5", "7")[1].amounts.tolist() == [1234, 2.5, 7]
    assert read("1,234", "2,5", "7")[1].amounts.tolist() == [1.234, 2.5, 7]


@pytest.mark.parametrize(
    "texts",
    [
        ["1st", "2nd", "3rd", "4th"],
        ["12a", "12b", "14c", "9d"],
        [f"{n} {word} street" for n, word in enumerate("abcdefghijklmnopqrstuvwxyz")],
    ],
)
def test_codes_ordinals_and_addresses_are_no_numbers(texts):
    assert profile(encode("a", pa.array(texts))).kind != "number"
