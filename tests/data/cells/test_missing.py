"""Words and signs that mean nothing are told from answers."""

import pyarrow as pa
import pytest

from finetune.data.cells import missing
from finetune.data.cells.encoded import encode


@pytest.mark.parametrize("text", ["N/A", " n/a ", "empty", "-", "—", "NULL", "#DIV/0!", "..."])
def test_a_marker_is_one_in_every_column(text):
    column = encode("a", pa.array(["x", text]))
    assert missing.markers(column, among_words=True).tolist() == [False, True]


@pytest.mark.parametrize("text", ["none", "NA", "Unknown"])
def test_a_word_that_may_be_an_answer_is_a_marker_among_numbers_only(text):
    column = encode("a", pa.array([text]))
    assert missing.markers(column, among_words=False).tolist() == [True]
    assert missing.markers(column, among_words=True).tolist() == [False]


def test_space_alone_is_blank():
    column = encode("a", pa.array(["", " \t", "\u00a0", "a", None]))
    assert missing.blank(column).tolist() == [True, True, True, False]
