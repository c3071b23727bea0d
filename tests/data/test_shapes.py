"""Shapes: every published shape is recognised, and what is said decides."""

import pyarrow as pa
import pytest

from finetune.data.kinds import Text
from finetune.data.shapes import SHAPES, TABLE, recognise, table_columns
from finetune.errors import DataError

TURNS = [[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]]


@pytest.mark.parametrize(
    ("row", "shape"),
    [
        ({"text": "a", "label": "x"}, "classification"),
        ({"sentence": "a", "label": 1}, "classification"),
        ({"review_text": "a", "category": "x"}, "classification"),
        ({"text": "a", "labels": ["x"]}, "multi_label"),
        ({"sentence1": "a", "sentence2": "b", "score": 1.5}, "regression"),
        ({"tokens": ["a"], "ner_tags": ["O"]}, "token_classification"),
        ({"question": "a", "context": "b", "answers": {"text": ["b"], "answer_start": [0]}},
         "question_answering"),
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, "preference"),
        ({"instruction": "a", "input": "", "output": "b"}, "conversation"),
        ({"messages": TURNS[0]}, "conversation"),
        ({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
         "conversation"),
        ({"prompt": "a", "completion": "b"}, "conversation"),
        ({"source": "a", "target": "b"}, "text2text"),
        ({"article": "a", "highlights": "b"}, "text2text"),
        ({"translation": {"de": "a", "en": "b"}}, "text2text"),
        ({"image": "a.png", "label": "x"}, "image_classification"),
        ({"image": "a.png", "text": "x", "category": "y"}, "image_text"),
        ({"image": "a.png", "caption": "x"}, "image_text"),
        ({"audio": "a.wav", "transcription": "x"}, "transcription"),
        ({"audio": "a.wav", "label": "x"}, "audio_classification"),
        ({"city": "a", "abv": "0.5"}, TABLE),
    ],
)  # fmt: skip
def test_published_shapes_are_recognised(row, shape):
    assert recognise(pa.table({k: [v] for k, v in row.items()}).schema, {}, "rows") == shape


def test_what_is_said_decides_among_shapes():
    schema = pa.table({"body": ["a"], "queue": ["x"], "text": ["t"]}).schema
    assert recognise(schema, {"text": "body", "label": "queue"}, "rows") == "classification"


def test_columns_that_fit_no_shape_are_refused():
    schema = pa.table({"body": ["a"], "sound": ["b"]}).schema
    with pytest.raises(DataError, match="make no shape"):
        recognise(schema, {"context": "body", "audio": "sound"}, "rows")


def test_a_column_that_is_said_and_not_there_is_named():
    schema = pa.table({"body": ["a"], "queue": ["b"]}).schema
    with pytest.raises(DataError, match=r"`bodi`.*did you mean `body`"):
        recognise(schema, {"text": "bodi"}, "rows")


def test_a_table_keeps_every_column_and_gives_way_with_its_id():
    kinds, sources = table_columns(pa.table({"id": [1], "name": ["a"]}).schema)
    assert sources == {"id_": "id", "name": "name"}
    assert all(isinstance(kind, Text) and not kind.required for kind in kinds.values())
    assert SHAPES[TABLE] == {}
