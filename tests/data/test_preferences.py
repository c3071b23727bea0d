"""Pairs of answers in the shapes that people keep them in, brought to one."""

from __future__ import annotations

import json
import random

import pytest

from finetune.data import preferences
from finetune.data.kinds import Turns
from finetune.data.prepare import prepare

KINDS = {"prompt": Turns(required=False), "chosen": Turns(), "rejected": Turns()}


def user(text):
    return {"role": "user", "content": text}


def said(text):
    return {"role": "assistant", "content": text}


WANTED = ([user("2 + 2?")], [said("4")], [said("5")])
SHAPES = {
    "texts": {"prompt": "2 + 2?", "chosen": "4", "rejected": "5"},
    "messages": {"prompt": [user("2 + 2?")], "chosen": [said("4")], "rejected": [said("5")]},
    "texts and messages": {"prompt": "2 + 2?", "chosen": [said("4")], "rejected": "5"},
    "implicit prompt": {
        "prompt": None, "chosen": [user("2 + 2?"), said("4")],
        "rejected": [user("2 + 2?"), said("5")],
    },
    "ultrafeedback": {
        "prompt": "2 + 2?", "chosen": [user("2 + 2?"), said("4")],
        "rejected": [user("2 + 2?"), said("5")],
    },
    "sharegpt names": {
        "prompt": [{"from": "human", "value": "2 + 2?"}],
        "chosen": [{"from": "gpt", "value": "4"}], "rejected": [{"from": "gpt", "value": "5"}],
    },
    "hh-rlhf": {
        "prompt": None, "chosen": "\n\nHuman: 2 + 2?\n\nAssistant: 4",
        "rejected": "\n\nHuman: 2 + 2?\n\nAssistant: 5",
    },
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_says_the_same(shape):
    assert preferences.pair(SHAPES[shape]) == WANTED


@pytest.mark.parametrize("shape", SHAPES)
def test_what_was_brought_into_shape_stays_so(shape):
    prompt, chosen, rejected = preferences.pair(SHAPES[shape])
    again = {"prompt": prompt, "chosen": chosen, "rejected": rejected}
    assert preferences.pair(again) == WANTED


def test_conversations_share_all_turns_before_they_part():
    start = [user("hello"), said("hi"), user("2 + 2?")]
    row = {"chosen": [*start, said("4")], "rejected": [*start, said("5"), user("no"), said("6")]}
    prompt, chosen, rejected = preferences.pair({"prompt": None, **row})
    assert prompt == start
    assert chosen == [said("4")]
    assert rejected == [said("5"), user("no"), said("6")]


@pytest.mark.parametrize(
    ("row", "column", "reason"),
    [
        ({"prompt": "a", "chosen": "b", "rejected": "b"}, "rejected", "is what is chosen"),
        ({"prompt": None, "chosen": "b", "rejected": "c"}, "prompt", "is missing"),
        ({"prompt": "a", "chosen": "", "rejected": "c"}, "chosen", "empty"),
        ({"prompt": "a", "chosen": "b", "rejected": None}, "rejected", "missing"),
        ({"prompt": "a", "chosen": [user("x")], "rejected": "c"}, "chosen", "asked something else"),
        (
            {"prompt": "a", "chosen": [said("x"), user("y")], "rejected": "c"},
            "chosen",
            "does not end with the assistant",
        ),
        (
            {"prompt": "", "chosen": [user("x"), said("1")], "rejected": [user("y"), said("2")]},
            "rejected",
            "begins otherwise",
        ),
        (
            {
                "prompt": "",
                "chosen": [user("x"), said("1")],
                "rejected": [user("x"), said("1"), user("y"), said("2")],
            },
            "chosen",
            "ends where",
        ),
    ],
)
def test_a_row_that_is_no_pair_is_told_why(row, column, reason):
    with pytest.raises(ValueError, match=f"`{column}`.*{reason}"):
        preferences.pair(row)


ASKED = ["".join(random.Random(n).choices("abcdefghij  ", k=60)) for n in range(60)]
"""Questions of which none is nearly another."""


def prepared(tmp_path, rows, **settings):
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return prepare(kinds=KINDS, path=str(file), **settings)


def rows_of(found):
    return [row for split in found.splits.values() for row in split.to_list()]


def test_a_file_without_prompts_is_understood_and_that_is_said(tmp_path):
    rows = [
        {"chosen": [user(text), said(f"{n}")], "rejected": [user(text), said("?")]}
        for n, text in enumerate(ASKED)
    ]
    found = prepared(tmp_path, rows)
    assert any("`prompt` was taken from" in message for message in found.audit["messages"])
    row = next(row for row in rows_of(found) if row["chosen"][0]["content"] == "7")
    assert row["prompt"] == [user(ASKED[7])]
    assert row["rejected"] == [said("?")]


def test_columns_of_other_names_are_recognised(tmp_path):
    rows = [{"question": text, "preferred": "1", "dispreferred": "?"} for text in ASKED]
    row = rows_of(prepared(tmp_path, rows))[0]
    assert [row[name][0]["role"] for name in KINDS] == ["user", "assistant", "assistant"]


def test_rows_without_a_difference_are_set_aside(tmp_path):
    rows = [{"prompt": text, "chosen": f"{n}", "rejected": "3"} for n, text in enumerate(ASKED)]
    found = prepared(tmp_path, rows, on_invalid="drop")
    assert len(rows_of(found)) == 59
    [line] = [line for line in found.quarantine if line["column"] == "rejected"]
    assert line["reason"] == "is what is chosen"
    assert any("`rejected` is what is chosen in 1 of" in m for m in found.audit["messages"])
