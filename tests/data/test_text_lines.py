"""Plain text, when it is asked for."""

import pytest

from finetune.data.sources import Reading, read
from finetune.errors import DataError


def test_each_line_is_a_row_and_blank_ones_are_none(write):
    path = write("x.txt", 'one, "two\r\n\r\n three\u2028four \nlast')
    (source,) = read(path, Reading(format="text")).values()
    assert source.table["text"].to_pylist() == ['one, "two', " three\u2028four ", "last"]
    assert source.ids == ["x.txt:1", "x.txt:3", "x.txt:4"]


def test_text_is_not_read_unasked_but_offered(write):
    with pytest.raises(DataError) as raised:
        read(write("x.txt", "one"))
    assert "data.format=text" in raised.value.fix


def test_a_folder_of_text_shards_is_read_when_asked(write):
    path = write("set/part-1.txt", "a\n")
    write("set/part-2.txt", "b\n")
    (source,) = read(path.parent, Reading(format="text")).values()
    assert source.table["text"].to_pylist() == ["a", "b"]
