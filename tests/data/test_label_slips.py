"""A slip is a rare word with a wrong letter inside, and nothing that changes a meaning."""

import pytest

from finetune.data.label_slips import Slip, slips


def found(slip, right, rows=1, of=100):
    return list(slips({slip: slip.split(), right: right.split()}, {slip: rows, right: of}))


@pytest.mark.parametrize(
    ("slip", "right"),
    [
        ("transfxr", "transfer"),
        ("tranfer", "transfer"),
        ("transsfer", "transfer"),
        ("transfre", "transfer"),
        ("reciept", "receipt"),
        ("vonder", "vender"),
        ("organisatoin desk", "organization desk"),
        ("surgical infxction prevxntion", "surgical infection prevention"),
    ],
)
def test_one_or_two_wrong_letters_in_long_words_are_a_slip(slip, right):
    assert found(slip, right) == [Slip(slip, right, "near spelling")]


def test_more_wrong_letters_than_a_name_is_long_for_are_none():
    assert not found("trxnsfxr", "transfer")
    assert not found("sxrgxcal xnfxctxon", "surgical infection")


@pytest.mark.parametrize(
    ("slip", "right"),
    [
        ("mouse", "house"),
        ("house call", "mouse call"),
        ("cat picture", "car picture"),
        ("cards", "card"),
        ("worked", "worker"),
        ("analyses", "analysis"),
        ("hypotension", "hypertension"),
        ("macroeconomics", "microeconomics"),
        ("transf3r", "transfer"),
        ("class 1", "class 2"),
        ("one word", "oneword"),
        ("blank", "black"),
    ],
)
def test_what_changes_the_meaning_is_no_slip(slip, right):
    assert not found(slip, right)


def test_a_slip_has_at_most_an_eighth_of_the_rows():
    assert found("tranfer", "transfer", rows=10, of=80)
    assert not found("tranfer", "transfer", rows=10, of=79)


def test_what_is_a_slip_itself_is_not_what_others_are_corrected_to():
    rows = {"transfer": 900, "tranfer": 90, "tranffer": 1}
    words = {name: [name] for name in rows}
    assert {one.right for one in slips(words, rows)} == {"transfer"}


def test_names_without_words_are_no_slips_of_one_another():
    assert list(slips({"?": [], "!": []}, {"?": 1, "!": 100})) == []
