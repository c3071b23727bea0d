"""Prompts and what comes back: for labels, for pairs, and for conversations."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.data.augmentation.few_shot import Shape
from finetune.data.kinds import Audio, Label, Messages, Text
from finetune.errors import ConfigError

LABELLED = Shape.of({"text": Text(), "label": Label()})
PAIRED = Shape.of({"source": Text(), "target": Text()})
CHAT = Shape.of({"messages": Messages()})
SHAPES = (LABELLED, PAIRED, CHAT)
TURNS = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "two\nteas"},
    {"role": "assistant", "content": "2x tea"},
]


def test_a_prompt_ends_where_the_next_row_begins():
    rows = [{"text": "my card\nis gone", "label": "lost"}]
    assert LABELLED.prompt(rows, "lost", None).endswith("- my card is gone\n-")
    assert '"lost"' in LABELLED.prompt(rows, "lost", None)
    wanted = "Input: two teas\nOutput: 2x tea\n\nInput:"
    assert PAIRED.prompt([{"source": "two teas", "target": "2x tea"}], None, None).endswith(wanted)
    assert CHAT.prompt([{"messages": TURNS}], None, None).endswith(wanted)


def test_braces_in_rows_and_templates_mean_nothing():
    found = LABELLED.prompt([{"text": "{0} {label!r}"}], "{x}", "{y} {label}: {examples}")
    assert found == "{y} {x}: - {0} {label!r}\n-"
    with pytest.raises(ConfigError, match="must contain"):
        LABELLED.prompt([], "a", "Write something.")


def test_what_the_model_writes_becomes_a_row():
    assert LABELLED.parse(" lost it again\n- and more", "lost") == {
        "text": "lost it again",
        "label": "lost",
    }
    written = " one tea\nOutput: 1x tea\n\nInput: two"
    assert PAIRED.parse(written, None) == {"source": "one tea", "target": "1x tea"}
    assert [turn["content"] for turn in CHAT.parse(written, None)["messages"]] == [
        "one tea",
        "1x tea",
    ]


@pytest.mark.parametrize("written", ["", " \n ", "- ...", "x" * 9000, "\nOutput:\n"])
def test_what_is_no_row_is_none(written):
    assert all(shape.parse(written, "a") is None for shape in SHAPES if shape is not LABELLED)
    if "Output" not in written:
        assert LABELLED.parse(written, "a") is None


@given(st.text(max_size=80))
def test_any_answer_is_a_row_or_none(written):
    for shape in SHAPES:
        row = shape.parse(written, "a")
        assert row is None or row[shape.inputs[0]]


def test_what_a_language_model_cannot_write_is_refused():
    with pytest.raises(ConfigError, match="can't make up"):
        Shape.of({"audio": Audio(), "text": Text()})
    with pytest.raises(ConfigError, match="can't make up"):
        Shape.of({"text": Text(), "text_pair": Text(), "label": Label()})
