"""Tokens and tags, sentence by sentence."""

import pytest

from finetune.data.problems import Problems
from finetune.data.sources import Reading, read
from finetune.errors import DataError


def only(found):
    (source,) = found.values()
    return source


def test_sentences_are_rows_named_by_their_first_line(write):
    text = "-DOCSTART-\tO\n\nI\tO\nBerlin\tB-LOC\n\n\n#\tO\nNew York\tB-LOC\n"
    found = only(read(write("x.conll", text)))
    assert found.table.to_pylist() == [
        {"tokens": ["I", "Berlin"], "tags": ["O", "B-LOC"]},
        {"tokens": ["#", "New York"], "tags": ["O", "B-LOC"]},
    ]
    assert found.ids == ["x.conll:3", "x.conll:7"]


def test_columns_in_between_are_passed_by_and_comments_too(write):
    reading = Reading()
    text = "# id 1 of the file\nEU NNP I-NP B-ORG\nrejects VBZ I-VP O\n\n-DOCSTART- -X- -X- O\n"
    found = only(read(write("x.bio", text), reading))
    assert found.table.to_pylist() == [{"tokens": ["EU", "rejects"], "tags": ["B-ORG", "O"]}]
    assert "4 columns" in reading.messages[0]


def test_a_no_break_space_in_a_token_cuts_nothing(write):
    found = only(read(write("x.iob", "10\u00a0km O\nfar O\n")))
    assert found.table["tokens"].to_pylist() == [["10\u00a0km", "far"]]


def test_a_line_without_a_tag_names_its_line_and_its_sentence_is_left_out(write):
    path = write("x.conll", "a\tO\nb\n\nc\tO\n")
    with pytest.raises(DataError, match=r"has 1 fields instead of 2 in 1 of 2 rows: x\.conll:2"):
        read(path)
    problems = Problems("drop")
    found = only(read(path, Reading(problems=problems)))
    assert found.table["tokens"].to_pylist() == [["c"]]
    assert found.ids == ["x.conll:4"]


def test_a_list_of_words_has_no_tags(write):
    with pytest.raises(DataError, match="has no tags"):
        read(write("x.conll", "a\nb\n"))
