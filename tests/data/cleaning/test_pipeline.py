import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.data import spool
from finetune.data.cleaning import pipeline
from finetune.data.cleaning.base import build
from finetune.data.cleaning.pipeline import clean, repaired

ALL = {
    "html": {"action": "repair"},
    "encoding": {"action": "repair"},
    "control": {"action": "repair"},
    "unicode": {"action": "repair"},
    "whitespace": {"action": "repair"},
    "markers": {"action": "drop"},
    "length": {"action": "report", "max_chars": 40},
    "personal_data": {"action": "repair"},
}
TEXTS = [
    "plain", "MÃ¼nchen &amp; Ulm", "N/A", None, "e\u0301t\x00e\u0301", "mail jo@ex.org now",
    " two  blanks ", "", "null", "\u202b\u05e9\u05dc\u05d5\u05dd\u202c", "x" * 50,
]  # fmt: skip


def made(texts, **more):
    return pa.table(
        {
            "id": [f"a.csv:{i}" for i in range(len(texts))],
            "text": pa.array(texts, pa.string()),
            **more,
        }
    )


def outcome(cleaned):
    return (cleaned.table.to_pylist(), cleaned.reports, list(cleaned.lines()))


def test_texts_are_repaired_and_rows_dropped_with_an_account():
    cleaned = clean(made(TEXTS), ["text"], build(ALL))
    texts = cleaned.table["text"].to_pylist()
    assert texts == [
        "plain", "München & Ulm", None, "été", "mail [EMAIL] now", "two blanks", "",
        "\u202b\u05e9\u05dc\u05d5\u05dd\u202c", "x" * 50,
    ]  # fmt: skip
    reports = {report["name"]: report for report in cleaned.reports}
    assert list(reports) == list(ALL)
    assert reports["markers"] == {
        "name": "markers", "rows_in": 11, "rows_out": 9, "changed": 0, "found": {"word": 2},
    }  # fmt: skip
    assert reports["length"]["rows_in"] == 9
    assert reports["length"]["found"] == {"too_long": 1, "too_short": 1}
    assert reports["personal_data"]["found"] == {"email": 1}
    lines = list(cleaned.lines())
    assert lines[0] == {
        "id": "a.csv:1", "step": "html", "column": "text",
        "reason": "has remnants of HTML (entity)", "before": "MÃ¼nchen &amp; Ulm",
    }  # fmt: skip
    assert lines[1]["step"] == "encoding"
    assert lines[1]["before"] == "MÃ¼nchen & Ulm"
    assert lines[2]["before"] == {"id": "a.csv:2", "text": "N/A"}


def test_a_conversation_is_cleaned_turn_by_turn():
    kind = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    rows = [
        [{"role": "user", "content": "fine"}, {"role": "assistant", "content": "cafÃ©"}],
        None,
        [],
        [{"role": "user", "content": None}, None, {"role": "assistant", "content": "a\x00b"}],
    ]
    table = pa.table({"id": list("abcd"), "messages": pa.array(rows, kind)})
    for given_table in (table, table.slice(1), table.slice(0, 3)):
        cleaned = clean(given_table, ["messages"], build(ALL))
        expected = given_table.to_pylist()
        for row in expected:
            for turn in row["messages"] or []:
                if turn and turn["content"]:
                    turn["content"] = turn["content"].replace("Ã©", "é").replace("\x00", "")
        assert cleaned.table.to_pylist() == expected
        assert cleaned.table.schema == given_table.schema
    labels = [line["column"] for line in clean(table, ["messages"], build(ALL)).lines()]
    assert labels == ["messages[1]", "messages[2]"]


@pytest.mark.parametrize("kind", [pa.list_(pa.string()), pa.large_list(pa.large_string())])
def test_lists_of_texts_are_cleaned_one_by_one(kind):
    table = pa.table(
        {"id": ["a", "b"], "text": pa.array([["x", "cafÃ©", None], ["\ufeffy"]], kind)}
    )
    cleaned = clean(table, ["text"], build(ALL))
    assert cleaned.table["text"].to_pylist() == [["x", "café", None], ["y"]]
    assert cleaned.table.schema == table.schema


@pytest.mark.parametrize(
    "kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
)
def test_other_ways_to_store_text_are_cleaned_too(kind):
    table = pa.table({"id": ["a", "b"], "text": pa.array(["cafÃ©", "x"], pa.string()).cast(kind)})
    assert clean(table, ["text"], build(ALL)).table["text"].to_pylist() == ["café", "x"]


def test_columns_that_are_no_text_are_left_alone():
    table = made(["a"], label=[3], vector=[[0.5]])
    assert clean(table, ["text", "label", "vector"], build(ALL)).table.equals(table)


def test_nothing_to_do_gives_the_same_table_back():
    table = made(["fine", "as it is"])
    cleaned = clean(table, ["text"], build(ALL))
    assert cleaned.table is table
    assert cleaned.records.num_rows == 0
    for empty in (made([]), made([None, None])):
        assert clean(empty, ["text"], build(ALL)).table.equals(empty)
    assert clean(table, [], build(ALL)).table is table
    assert clean(table, ["text"], build({"html": {"action": "skip"}})).reports == []


def test_batches_without_a_change_are_not_copied(monkeypatch):
    monkeypatch.setattr(spool.Spool.__init__, "__kwdefaults__", {"memory_bytes": 0})
    table = made(["plain text"] * 100 + ["cafÃ©"] + ["plain text"] * 99)
    cleaned = clean(table, ["text"], build(ALL), batch_rows=50)
    chunks = cleaned.table["text"].chunks
    old = table["text"].chunk(0).buffers()[2].address
    assert [chunk.buffers()[2].address == old for chunk in chunks] == [True, True, False, True]


def test_a_dropped_row_is_written_down_whole_but_for_its_pictures():
    picture = pa.array(
        [{"bytes": b"\x89", "path": "a.png"}],
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )
    cleaned = clean(made(["n/a"], image=picture, label=["x"]), ["text"], build(ALL))
    assert [line["before"] for line in cleaned.lines()] == [
        {"id": "a.csv:0", "text": "n/a", "image": "a.png", "label": "x"}
    ]


def test_a_row_that_is_dropped_is_not_seen_by_later_steps():
    steps = build({"markers": {"action": "drop"}, "length": {"action": "drop", "min_chars": 5}})
    cleaned = clean(made(["N/A", "abc", "long enough"]), ["text"], steps)
    assert [(line["id"], line["step"]) for line in cleaned.lines()] == [
        ("a.csv:0", "markers"),
        ("a.csv:1", "length"),
    ]
    assert [(r["rows_in"], r["rows_out"]) for r in cleaned.reports] == [(3, 2), (2, 1)]


@settings(max_examples=25, deadline=None)
@given(
    texts=st.lists(
        st.one_of(
            st.sampled_from(TEXTS), st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
        ),
        max_size=20,
    ),
    batch_rows=st.integers(1, 7),
    cut=st.integers(0, 20),
)
def test_the_size_of_a_batch_changes_nothing(texts, batch_rows, cut):
    table = made(texts)
    chunked = pa.concat_tables([table.slice(0, cut), table.slice(cut)])
    assert outcome(clean(chunked, ["text"], build(ALL), batch_rows=batch_rows)) == outcome(
        clean(table, ["text"], build(ALL))
    )


def test_the_number_of_processes_changes_nothing():
    table = made([TEXTS[i % len(TEXTS)] for i in range(500)])
    alone = outcome(clean(table, ["text"], build(ALL)))
    assert (
        outcome(clean(table, ["text"], build(ALL), workers=2, batch_rows=60, parallel_rows=1))
        == alone
    )


def test_a_text_that_was_nothing_but_trouble_takes_its_row_along():
    table = made(["\x00\x01", "", " ", "fine\x00"])
    cleaned = clean(table, ["text"], build({"control": {}}))
    assert cleaned.table["text"].to_pylist() == ["", " ", "fine"]
    assert cleaned.reports == [
        {
            "name": "control",
            "rows_in": 4,
            "rows_out": 3,
            "changed": 1,
            "found": {"control": 3, "emptied": 1},
        }
    ]
    last = [line for line in cleaned.lines() if line["id"] == "a.csv:0"][-1]
    assert last["reason"] == "is blank once put right"
    assert last["before"] == {"id": "a.csv:0", "text": "\x00\x01"}


def test_a_text_that_was_blank_before_costs_no_row():
    cleaned = clean(made([" ", "a "]), ["text"], build({"whitespace": {"action": "repair"}}))
    assert cleaned.table["text"].to_pylist() == ["", "a"]


def test_a_turn_that_says_nothing_any_more_does_not_cost_the_conversation():
    turns = [{"role": "user", "content": "\x00"}, {"role": "assistant", "content": "yes"}]
    table = pa.table({"id": ["a"], "messages": [turns]})
    cleaned = clean(table, ["messages"], build({"control": {}}))
    assert [turn["content"] for turn in cleaned.table["messages"][0].as_py()] == ["", "yes"]


def test_lines_may_go_elsewhere():
    lines = []
    cleaned = clean(made(TEXTS), ["text"], build(ALL), record=lines.append, batch_rows=2)
    assert cleaned.records.num_rows == 0
    assert lines == list(clean(made(TEXTS), ["text"], build(ALL)).lines())


def test_the_account_adds_up_and_undoes_every_change():
    table = made(TEXTS * 3)
    steps = build({name: options for name, options in ALL.items() if name != "markers"})
    cleaned = clean(table, ["text"], steps)
    first = {}
    for line in cleaned.lines():
        first.setdefault(line["id"], line["before"])
    texts = dict(zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True))
    after = dict(zip(*cleaned.table.select(["id", "text"]).to_pydict().values(), strict=True))
    for row, text in texts.items():
        assert text == first.get(row, after[row])


def test_batches_of_long_texts_are_halved(monkeypatch):
    monkeypatch.setattr(pipeline, "BATCH_BYTES", 1000)
    texts = ["x" * 400 + "Ã©"] * 9 + ["y" * 5000]
    cleaned = clean(made(texts), ["text"], build({"encoding": {}}))
    assert cleaned.table["text"].num_chunks > 4
    assert cleaned.table["text"].to_pylist() == ["x" * 400 + "é"] * 9 + ["y" * 5000]


def test_one_text_is_repaired_as_the_table_is():
    steps = build(ALL)
    for text in TEXTS:
        if text not in (None, "N/A", "null"):
            cleaned = clean(made([text]), ["text"], steps)
            assert repaired(text, steps) == cleaned.table["text"][0].as_py()


def test_changes_beyond_memory_go_through_a_file(monkeypatch):
    monkeypatch.setattr(spool.Spool.__init__, "__kwdefaults__", {"memory_bytes": 100})
    table = made(["cafÃ©", "fine"] * 200)
    cleaned = clean(table, ["text"], build(ALL), batch_rows=16)
    assert cleaned.table["text"].to_pylist() == ["café", "fine"] * 200
    assert len(json.dumps(list(cleaned.lines()))) > 1000
    assert np.array([line["id"] for line in cleaned.lines()]).tolist() == [
        f"a.csv:{i}" for i in range(0, 400, 2)
    ]
