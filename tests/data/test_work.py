"""What the steps pass on: counts are those of the tables, and nothing is said twice."""

import pyarrow as pa

from finetune.data.kinds import Label, Text
from finetune.data.problems import Problems
from finetune.data.work import GROUP, Work


def work():
    table = pa.table({"id": ["a:1", "a:2"], "text": ["x", "y"], "label": ["l", "l"], GROUP: [1, 2]})
    kinds = {"text": Text(), "label": Label(), "extra": Text(required=False)}
    return Work({"": table}, kinds, Problems(), [], sources={"text": "text", "label": "label"})


def test_a_step_is_written_down_with_what_is_left():
    made = work()
    made.tables[""] = made.tables[""].slice(0, 1)
    made.step("html", 2, changed=0)
    assert made.steps == [{"name": "html", "rows_in": 2, "rows_out": 1, "changed": 0}]


def test_inputs_are_what_is_there_and_not_the_target():
    assert work().inputs() == ["text"]
    assert work().labels() == {"": ["l", "l"]}


def test_a_sentence_is_said_once():
    made = work()
    made.say("a")
    made.say("a")
    assert made.messages == ["a"]


def test_working_columns_are_forgotten():
    made = work()
    made.forget_working_columns()
    assert made.tables[""].column_names == ["id", "text", "label"]
