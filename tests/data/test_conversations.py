"""Conversations of every shape end up as the same list of messages."""

import json

import pytest

from finetune.data.conversations import build

ASKED = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]


@pytest.mark.parametrize(
    "parts",
    [
        {"messages": ASKED},
        {"messages": json.dumps(ASKED)},
        {"messages": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
        {"messages": [*ASKED, {"role": "user", "content": "thanks"}]},
        {"prompt": "a", "completion": "b"},
        {"prompt": "a", "input": "", "completion": "b"},
        {"prompt": ASKED[:1], "completion": ASKED[1:]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}, ASKED[1]]},
    ],
)
def test_every_shape_makes_the_same_conversation(parts):
    made, wrong, _ = build({part: [value] for part, value in parts.items()})
    assert made == [ASKED]
    assert wrong == {}


def test_alpaca_input_follows_the_instruction_and_system_goes_first():
    made, _, _ = build(
        {"prompt": ["do"], "input": ["this"], "completion": [3], "system": ["be brief"]}
    )
    assert made == [
        [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "do\n\nthis"},
            {"role": "assistant", "content": "3"},
        ]
    ]


def test_turns_behind_the_last_answer_are_cut_and_counted():
    _, _, trimmed = build({"messages": [[*ASKED, {"role": "user", "content": "c"}], ASKED]})
    assert trimmed == 1


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"messages": None}, "is empty"),
        ({"messages": []}, "is empty"),
        ({"messages": ["a"]}, "is not a list of messages"),
        ({"messages": "[not json"}, "is text that is not a JSON list of messages"),
        ({"messages": ASKED[:1]}, "has no turn of the assistant"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "has a turn of an unknown role"),
        ({"prompt": "a", "completion": " "}, "has a turn that is empty"),
        ({"prompt": None, "completion": "b"}, "has a turn that is missing"),
        ({"prompt": "a", "completion": True}, "has a turn that is not text"),
        (
            {"prompt": "\ud800", "completion": "b"},
            "has characters that are not valid Unicode (lone surrogates)",
        ),
    ],
)
def test_a_row_that_makes_no_conversation_says_why(parts, reason):
    made, wrong, _ = build({part: [value] for part, value in parts.items()})
    assert made == [None]
    assert wrong == {0: reason}
