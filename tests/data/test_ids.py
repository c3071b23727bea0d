"""Ids behave as a list of texts, and are none."""

from array import array

import pyarrow as pa

from finetune.data.ids import at_lines, joined, listed, numbered


def test_ids_are_a_sequence_of_texts():
    ids = at_lines("x.csv", array("q", [2, 5, 9]))
    assert list(ids) == ["x.csv:2", "x.csv:5", "x.csv:9"]
    assert (len(ids), ids[1], ids[-1], ids[1:]) == (3, "x.csv:5", "x.csv:9", ["x.csv:5", "x.csv:9"])
    assert ids == ["x.csv:2", "x.csv:5", "x.csv:9"]
    assert "x.csv:5" in ids


def test_arrow_takes_them_without_a_python_object_each():
    ids = numbered("rows", 3)
    assert pa.array(ids, pa.string()).equals(pa.array(["rows:1", "rows:2", "rows:3"]))
    assert pa.array(ids, pa.string()).buffers()[2].address == ids.array.buffers()[2].address


def test_ids_of_several_files_follow_each_other():
    assert joined([numbered("a", 1), listed(["b/1.png"])]) == ["a:1", "b/1.png"]
    assert list(joined([at_lines("x", array("q"))])) == []
