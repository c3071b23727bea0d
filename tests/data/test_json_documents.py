"""Documents of objects, and the nesting of SQuAD."""

import json

import pytest

from finetune.data import json_documents
from finetune.data.sources import Reading, read
from finetune.errors import DataError

SQUAD = {
    "version": "1.1",
    "data": [
        {
            "title": "Panthers",
            "paragraphs": [
                {
                    "context": "They gave up 308 points.",
                    "qas": [
                        {
                            "id": "q1",
                            "question": "How many?",
                            "answers": [{"text": "308", "answer_start": 13}],
                        },
                        {"id": "q2", "question": "Why?", "answers": [], "is_impossible": True},
                    ],
                }
            ],
        }
    ],
}


def only(found):
    (source,) = found.values()
    return source


def test_squad_is_flattened_to_questions(write):
    reading = Reading()
    found = only(read(write("x.json", json.dumps(SQUAD)), reading))
    assert found.table.to_pylist() == [
        {
            "id": "q1",
            "title": "Panthers",
            "context": "They gave up 308 points.",
            "question": "How many?",
            "answers": {"text": ["308"], "answer_start": [13]},
        },
        {
            "id": "q2",
            "title": "Panthers",
            "context": "They gave up 308 points.",
            "question": "Why?",
            "answers": {"text": [], "answer_start": []},
        },
    ]
    assert reading.messages == ["`x.json` is nested as SQuAD: read as 2 questions."]


@pytest.mark.parametrize(
    "document",
    [{"data": [{"text": "a"}]}, {"data": [{"paragraphs": "a"}]}, [{"paragraphs": [], "text": "a"}]],
)
def test_what_only_looks_like_squad_is_a_list_of_objects(write, document):
    assert only(read(write("x.json", json.dumps(document)))).table.num_rows == 1


def test_objects_one_after_the_other_over_several_lines_name_the_line(write):
    with pytest.raises(DataError, match=r"x\.json:1"):
        read(write("x.json", '{\n"a": 1}\n{"a": 2}\n'))


def test_json_lines_are_recognised_however_long_the_first_one_is(write):
    reading = Reading()
    content = json.dumps({"a": "x" * 100_000}) + '\n{"a": "y"}\n'
    assert only(read(write("x.json", content), reading)).table.num_rows == 2
    assert "one JSON object a line" in reading.messages[0]


def test_a_document_that_is_too_large_to_be_parsed_is_refused(write, monkeypatch):
    monkeypatch.setattr(json_documents, "MAX_CHARACTERS", 10)
    with pytest.raises(DataError, match="more than 10 characters") as raised:
        read(write("x.json", '[{"a": "b"}]'))
    assert "jsonl" in raised.value.fix
