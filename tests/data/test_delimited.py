"""What is written as csv comes back, cell by cell, and mistakes name their line."""

import csv
import io
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.data import delimited
from finetune.data.problems import Problems
from finetune.data.sources import Reading, read
from finetune.errors import ConfigError, DataError

CELL = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def only(found):
    (source,) = found.values()
    return source


def rows_of(path, **options):
    return [list(row.values()) for row in only(read(path, Reading(**options))).table.to_pylist()]


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 4).flatmap(
        lambda width: st.lists(st.lists(CELL, min_size=width, max_size=width), min_size=1)
    ),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_any_text_survives_csv(rows, end):
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([[f"c{index}" for index in range(len(rows[0]))], *rows])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.csv")
        path.write_bytes(buffer.getvalue().encode())
        source = only(read(path))
    assert [list(row.values()) for row in source.table.to_pylist()] == rows
    place = 2
    for row, row_id in zip(rows, source.ids, strict=True):
        assert row_id == f"x.csv:{place}"
        place += len(io.StringIO('"' + '","'.join(row) + '"\n', newline="").readlines())


def test_a_file_without_header_takes_names(write):
    path = write("x.csv", "hello;007\nyou, there;008\n")
    found = only(read(path, Reading(header=["text", "label"])))
    assert found.table.to_pylist() == [
        {"text": "hello", "label": "007"},
        {"text": "you, there", "label": "008"},
    ]
    assert found.ids == ["x.csv:1", "x.csv:2"]
    with pytest.raises(DataError, match=r"2 fields instead of 3 in 2 of 2 rows: x\.csv:1"):
        read(path, Reading(header=["a", "b", "c"]))
    with pytest.raises(DataError, match="more than one column called `a`"):
        read(path, Reading(header=["a", "a"]))


def test_one_bad_byte_of_quoting_does_not_take_the_file_into_memory(write, monkeypatch):
    monkeypatch.setattr(delimited, "MAX_LINE", 1000)
    path = write("x.csv", 'a,b\n1,2\n"3,4\n' + "5,6\n" * 500)
    with pytest.raises(DataError, match="not closed within 1,000 characters in 1 of"):
        read(path)
    assert csv.field_size_limit() != 1000


def test_small_batches_give_the_same_rows(write, monkeypatch):
    path = write("x.csv", "a,b\n" + "".join(f"{i},{i}\n" for i in range(10)))
    whole = only(read(path))
    monkeypatch.setattr(delimited, "BATCH_ROWS", 3)
    cut = only(read(path))
    assert cut.table.equals(whole.table)
    assert list(cut.ids) == list(whole.ids)


def test_columns_that_a_spreadsheet_left_empty_are_left_out(write):
    reading = Reading()
    found = only(read(write("x.csv", "a,b,,\n1,2,,\n"), reading))
    assert found.table.column_names == ["a", "b"]
    assert "2 columns without a name or a value" in reading.messages[0]


def test_a_forgotten_name_in_the_header_is_a_mistake(write):
    with pytest.raises(DataError, match="2 fields instead of 1 in 3 of 3 rows") as raised:
        read(write("x.csv", "text\na,1\nb,2\nc,3\n"))
    assert "data.delimiter=none" in raised.value.fix


def test_uneven_commas_under_one_name_are_text(write):
    reading = Reading(problems=Problems())
    path = write("x.csv", 'text\nyes, no, well\nfine\n"quoted, too"\n')
    found = only(read(path, reading))
    assert found.table["text"].to_pylist() == ["yes, no, well", "fine", "quoted, too"]
    assert reading.messages == ["`x.csv` has one column: ',' in its values is text."]


def test_none_as_delimiter_makes_one_column(write):
    assert rows_of(write("x.csv", "text\na,1\nb,2\n"), delimiter="none") == [["a,1"], ["b,2"]]


@pytest.mark.parametrize("delimiter", ["~~", '"', "\n"])
def test_a_delimiter_is_one_character(write, delimiter):
    with pytest.raises(ConfigError, match="not a single character"):
        read(write("x.csv", "a,b\n1,2\n"), Reading(delimiter=delimiter))
