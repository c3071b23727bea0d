"""Tables of several files become one, whatever their types."""

import pyarrow as pa

from finetune.data.concatenation import concatenated
from finetune.data.tables import mixed, table_of_rows


def test_equal_tables_follow_each_other():
    parts = [pa.table({"a": [1, 2]}), pa.table({"a": [3]})]
    assert concatenated(iter(parts))["a"].to_pylist() == [1, 2, 3]


def test_what_a_table_lacks_is_missing_and_numbers_meet():
    made = concatenated([pa.table({"a": [1]}), pa.table({"b": ["x"], "a": [0.5]})])
    assert made.to_pylist() == [{"a": 1.0, "b": None}, {"a": 0.5, "b": "x"}]


def test_types_that_cannot_meet_become_marked_text():
    made = concatenated([pa.table({"a": [1, None]}), pa.table({"a": ["x"]})])
    assert mixed(made.schema.field("a"))
    assert made["a"].to_pylist() == ["1", None, '"x"']


def test_marked_text_is_not_marked_twice():
    first = table_of_rows([{"a": 1}, {"a": "x"}], "rows")
    for parts in ([first, pa.table({"a": ["y"]})], [pa.table({"a": ["y"]}), first]):
        made = concatenated(parts)
        assert mixed(made.schema.field("a"))
        assert sorted(made["a"].to_pylist()) == ['"x"', '"y"', "1"]
