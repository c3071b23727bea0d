"""The separator is found, and a wrong one is said to be wrong."""

import pytest

from finetune.data.separators import NONE, choose, sniff
from finetune.errors import DataError


@pytest.mark.parametrize(
    ("sample", "found"),
    [
        ("a,b\n1,2\n", ","),
        ("a;b\n1,5;2\n", ";"),
        ("a\tb\n1, 2\t3\n", "\t"),
        ("a|b\n1|2\n", "|"),
        ("a\n1\n", None),
        ("text,label\nwell; yes; no,1\n", ","),
        ("a;b,c\n1;2,3\n", ","),
        ("", None),
    ],
)
def test_the_separator_that_cuts_the_rows_alike_is_found(sample, found):
    assert sniff(sample, ",") == found


def test_a_wrong_separator_names_the_right_one():
    with pytest.raises(DataError, match=r"seems to be separated by ';'") as raised:
        choose("a;b\n1;2\n", "x.csv", "csv", ",", None, [])
    assert "Leave data.delimiter out" in raised.value.fix


@pytest.mark.parametrize(("said", "meant"), [("tab", "\t"), ("\\t", "\t"), ("none", NONE)])
def test_separators_that_are_hard_to_type_have_names(said, meant):
    assert choose("a\tb\n1\t2\n", "x.csv", "csv", said, None, []) == meant


def test_uneven_commas_under_one_name_cut_nothing_and_even_ones_are_left_to_be_refused():
    assert choose("text\na, b\nc\n", "x.csv", "csv", None, None, []) == NONE
    assert choose("text\na, b\nc, d\n", "x.csv", "csv", None, None, []) == ","


def test_a_found_separator_is_said_unless_the_name_says_it():
    messages: list[str] = []
    assert choose("a\tb\n1\t2\n", "x.tsv", "tsv", None, None, messages) == "\t"
    assert messages == []
    assert choose("a\tb\n1\t2\n", "x.csv", "csv", None, None, messages) == "\t"
    assert messages == ["`x.csv` is separated by tabs."]
