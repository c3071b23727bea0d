"""Data alone: every shape has its columns, rows are measured, and there is nothing to train."""

from types import SimpleNamespace

import pytest

from finetune import cli, tasks
from finetune.data.shapes import SHAPES
from finetune.runs import storage
from finetune.tasks.data import Data

CSV = "body,queue\n" + "".join(f"message number {n},{'ab'[n % 2]}\n" for n in range(40))


class Words:
    model_max_length = 3

    def __call__(self, texts, **options):
        return {"input_ids": [text.split() for text in texts]}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_can_be_named(shape):
    assert Data(shape=shape).columns == SHAPES[shape]
    assert Data().columns is None


def test_rows_are_measured_in_tokens_when_there_is_a_tokenizer():
    task = Data()
    assert task.measure([{"text": "a b"}]) == [{}]
    task.processor = Words()
    rows = [
        {"id": "x", "text": "a b", "label": None},
        {"id": "x", "tokens": ["a", "b", "c"], "tags": ["O", "O", "O"]},
        {"id": "x", "messages": [{"role": "user", "content": "a b c d"}]},
    ]
    assert [item["n_tokens"] for item in task.measure(rows)] == [2, 6, 4]
    assert [item["length"] for item in task.measure(rows)] == [2, 3, 3]


def test_it_is_found_by_its_tag_and_is_none_of_the_tasks_that_train():
    assert tasks.find("data") is Data
    assert "data" not in tasks.tags()


def test_prepare_reports_and_run_says_that_there_is_nothing_to_train(tmp_path, capsys):
    file = tmp_path / "mail.csv"
    file.write_text(CSV)
    arguments = ["recipe=data", f"data.path={file}", f"run.dir={tmp_path}", "name=x"]
    said = ["data.columns.text=body", "data.columns.label=queue"]
    assert cli.call(["prepare", *arguments, *said]) == 0
    audit = storage.read_json(tmp_path / "x" / "data" / "audit.json")
    assert audit["classes"] == {"a": 20, "b": 20}
    assert (tmp_path / "x" / "report.html").is_file()
    assert cli.call(arguments) == 2
    assert "prepares data and trains nothing" in capsys.readouterr().err


def test_a_limit_of_ones_own_counts():
    task = Data(max_length=2)
    task.processor = SimpleNamespace(model_max_length=512)
    assert task.limit() == 2
