"""Which column is which: said, recognised, or refused with what is there."""

import pytest

from finetune.data.columns import column_of, resolve
from finetune.data.kinds import Audio, Image, Label, Messages, Text
from finetune.data.tables import table_of_rows
from finetune.errors import ConfigError, DataError

CLASSIFICATION = {"text": Text(), "label": Label()}
PAIR = {"source": Text(), "target": Text()}


def schema(*names, **values):
    row = dict.fromkeys(names, "x") | values
    return table_of_rows([row], "rows").schema


def find(schema, kinds, keep=(), **columns):
    return resolve(schema, kinds, columns=columns, keep=keep, name="x.csv")


@pytest.mark.parametrize(
    ("names", "kinds", "expected"),
    [
        (["text", "label"], CLASSIFICATION, {"text": "text", "label": "label"}),
        (["Text ", "LABEL"], CLASSIFICATION, {"text": "Text ", "label": "LABEL"}),
        (["sentence", "target"], CLASSIFICATION, {"text": "sentence", "label": "target"}),
        (["message", "intent"], CLASSIFICATION, {"text": "message", "label": "intent"}),
        (["Review Text", "class"], CLASSIFICATION, {"text": "Review Text", "label": "class"}),
        (["document", "summary"], PAIR, {"source": "document", "target": "summary"}),
        (["article", "highlights"], PAIR, {"source": "article", "target": "highlights"}),
        (["input", "output"], PAIR, {"source": "input", "target": "output"}),
        (
            ["img", "caption"],
            {"image": Image(), "text": Text()},
            {"image": "img", "text": "caption"},
        ),
        (
            ["path", "sentence"],
            {"audio": Audio(), "text": Text()},
            {"audio": "path", "text": "sentence"},
        ),
    ],
)
def test_well_known_names_are_recognised(names, kinds, expected):
    assert find(schema(*names), kinds).sources == expected


def test_each_guess_is_said_and_exact_names_are_not_guesses():
    assert find(schema("text", "label"), CLASSIFICATION).messages == []
    assert find(schema("body", "label"), CLASSIFICATION).messages == [
        "`text` was recognised in the column `body`."
    ]


def test_a_column_is_never_used_twice():
    found = find(schema("text", "target"), PAIR)
    assert found.sources == {"source": "text", "target": "target"}
    with pytest.raises(DataError, match="No column for `source`"):
        find(schema("document"), {"text": Text(), "source": Text()})
    with pytest.raises(DataError, match="No column for `label`"):
        find(schema("text"), CLASSIFICATION)


def test_what_the_user_says_goes_before_every_guess():
    found = find(schema("text", "body", "label"), CLASSIFICATION, text="body")
    assert found.sources == {"text": "body", "label": "label"}


def test_translation_pairs_are_taken_in_their_order_and_it_is_said():
    found = find(schema(translation={"en": "a", "de": "b"}), PAIR)
    assert found.sources == {"source": "translation.en", "target": "translation.de"}
    assert "turn them round" in found.messages[0]


def test_a_column_that_is_not_there_lists_those_that_are_but_no_value():
    rows = table_of_rows([{"v1": "a secret", "v2": 3, "v3": [1], "v4": {"a": 1}}], "rows")
    with pytest.raises(DataError) as raised:
        find(rows.schema, CLASSIFICATION)
    said = str(raised.value)
    assert "`v1` (text), `v2` (int64), `v3` (list of int64), `v4` ({a})" in said
    assert "secret" not in said
    assert "data.columns.text=" in raised.value.fix


def test_a_misspelt_source_names_the_nearest():
    with pytest.raises(DataError, match=r"names `bodi`.*did you mean `body`"):
        find(schema("body", "label"), CLASSIFICATION, text="bodi")
    with pytest.raises(DataError, match="names `titel`"):
        find(schema("body", "title", "label"), CLASSIFICATION, text="{titel} {body}")
    with pytest.raises(DataError, match=r"names `a\.c`"):
        find(schema(a={"b": "x"}, label="y"), CLASSIFICATION, text="a.c")


def test_a_canonical_column_that_the_task_lacks_is_a_configuration_error():
    with pytest.raises(ConfigError, match="did you mean `text`"):
        find(schema("body", "label"), CLASSIFICATION, txt="body")


def test_kept_columns_must_be_there():
    assert find(schema("text", "label", "channel"), CLASSIFICATION, keep=["channel"]).keep == (
        "channel",
    )
    with pytest.raises(DataError, match="did you mean `channel`"):
        find(schema("text", "label", "channel"), CLASSIFICATION, keep=["chanel"])
    with pytest.raises(ConfigError, match="`id`"):
        find(schema("text", "label", "id"), CLASSIFICATION, keep=["id"])


def test_an_optional_column_may_be_absent():
    kinds = {"text": Text(), "label": Label(required=False)}
    assert find(schema("text"), kinds).sources == {"text": "text"}


TABLE = table_of_rows(
    [
        {"title": "A", "body": "one", "n": {"deep": {"x": "u"}}, "list": ["p", "q"], "m": 1},
        {"title": None, "body": "two", "n": {"deep": None}, "list": [], "m": "s"},
        {"title": None, "body": " ", "n": None, "list": None, "m": None},
    ],
    "rows",
)


def values(source):
    column = column_of(TABLE, source)
    return column if isinstance(column, list) else column.to_pylist()


def test_templates_fill_gaps_with_nothing_and_are_missing_when_all_is():
    assert values(r"{title}\n{body}") == ["A\none", "\ntwo", None]
    assert values("{n.deep.x}: {body}") == ["u: one", ": two", None]


def test_a_template_reaches_columns_only_and_never_attributes():
    table = table_of_rows([{"a": "x"}], "rows")
    with pytest.raises(DataError):
        find(table.schema, {"text": Text()}, text="{a.__class__}")


def test_nested_fields_and_list_items_are_reached():
    assert values("n.deep.x") == ["u", None, None]
    assert values("list.1") == ["q", None, None]


def test_values_without_a_common_type_keep_their_own():
    assert values("m") == [1, "s", None]


MESSAGES = {"messages": Messages()}
TURNS = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"messages": TURNS}, {"messages": "messages"}),
        ({"conversations": [{"from": "human", "value": "x"}]}, {"messages": "conversations"}),
        (
            {"instruction": "a", "input": "b", "output": "c"},
            {"prompt": "instruction", "input": "input", "completion": "output"},
        ),
        ({"prompt": "a", "completion": "b"}, {"prompt": "prompt", "completion": "completion"}),
        ({"question": "a", "answer": "b"}, {"prompt": "question", "completion": "answer"}),
        (
            {"system": "s", "prompt": "a", "response": "b"},
            {"system": "system", "prompt": "prompt", "completion": "response"},
        ),
    ],
)
def test_the_known_shapes_of_conversations_are_recognised(row, expected):
    assert find(schema(**row), MESSAGES).parts["messages"] == expected


def test_a_conversation_may_be_made_of_columns_that_the_user_names():
    found = find(schema("q", "a", "context"), MESSAGES, prompt="{context}\n{q}", completion="a")
    assert found.parts["messages"] == {"prompt": "{context}\n{q}", "completion": "a"}
    assert found.messages == []
    with pytest.raises(DataError, match="No conversation was found"):
        find(schema("q", "a"), MESSAGES)
