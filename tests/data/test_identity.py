"""Rows are the same by content alone."""

import pyarrow as pa

from finetune.data.identity import digests, drawn, fingerprint, questions
from finetune.data.values import messages_type


def test_a_hash_depends_on_content_and_not_on_chunks_or_file_names():
    whole = pa.table({"a": ["x", "y", "x"]})
    pieces = pa.concat_tables([whole.slice(0, 1), whole.slice(1)])
    assert digests(whole, ["a"]) == digests(pieces, ["a"])
    assert digests(whole, ["a"])[0] == digests(whole, ["a"])[2]
    pictures = pa.table({"i": [{"bytes": b"1", "path": "a"}, {"bytes": b"1", "path": "b"}]})
    assert len(set(digests(pictures, ["i"]))) == 1


def test_columns_do_not_run_into_each_other():
    table = pa.table({"a": ["xy", "x"], "b": ["z", "yz"]})
    assert len(set(digests(table, ["a", "b"]))) == 2


def test_missing_is_not_empty():
    assert len(set(digests(pa.table({"a": ["", None]}), ["a"]))) == 2


def test_a_conversation_asks_the_same_whatever_is_answered():
    def turns(answer):
        return [{"role": "user", "content": "a"}, {"role": "assistant", "content": answer}]

    table = pa.table({"m": pa.array([turns("b"), turns("c")], messages_type())})
    assert len(set(questions(table, ["m"]))) == 1
    assert len(set(digests(table, ["m"]))) == 2


def test_one_changed_row_changes_the_fingerprint_and_the_seed_the_order():
    rows = digests(pa.table({"a": [str(i) for i in range(50)]}), ["a"])
    assert fingerprint(rows) != fingerprint(rows[:-1])
    assert len(fingerprint(rows)) == 64
    assert sorted(rows, key=lambda r: drawn(0, r)) != sorted(rows, key=lambda r: drawn(1, r))


def test_of_a_conversation_that_ends_with_a_question_every_turn_counts():
    asked = [[{"role": "user", "content": text}] for text in ("one", "two", "one")]
    column = pa.chunked_array([pa.array(asked, messages_type())])
    first, second, third = questions(pa.table({"prompt": column}), ["prompt"])
    assert first == third != second
