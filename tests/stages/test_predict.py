"""A file of rows answered by a finished run."""

from __future__ import annotations

import json

import pytest

from finetune import cli
from finetune.runs import storage
from finetune.stages.predict import Predictor
from tests.stages.finished import BERT, copy_of, finished, say

TEXTS = ["where is my parcel", "please cancel my order", 'a "quoted", text']


@pytest.fixture
def rows(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text("text\n" + "\n".join('"' + text.replace('"', '""') + '"' for text in TEXTS))
    return file


def test_a_file_without_labels_is_answered_line_by_line(rows):
    said = say("predict", str(finished(BERT).path), str(rows))
    assert said.code == 0, said.err
    lines = [json.loads(line) for line in said.out.splitlines()]
    assert [line["id"] for line in lines] == [f"rows.csv:{n}" for n in (2, 3, 4)]
    labels = set(storage.read_json(finished(BERT).data / "audit.json")["classes"])
    assert all(set(line) == {"id", "prediction", "score"} for line in lines)
    assert all(line["prediction"] in labels and 0 < line["score"] <= 1 for line in lines)


def test_labels_in_the_file_change_no_answer(rows, tmp_path):
    plain = say("predict", str(finished(BERT).path), str(rows)).out
    labelled = tmp_path / "labelled" / "rows.csv"
    labelled.parent.mkdir()
    lines = rows.read_text().splitlines()
    labelled.write_text(
        "\n".join([lines[0] + ",label", *(f"{line},no such" for line in lines[1:])])
    )
    assert say("predict", str(finished(BERT).path), str(labelled)).out == plain


def test_predict_agrees_with_the_report(tmp_path):
    """What is served is what was evaluated."""
    import pyarrow.parquet as pq

    run = finished(BERT)
    predictions = storage.read_jsonl(run.evaluation / "predictions.jsonl")
    table = pq.read_table(run.data / "test.parquet").slice(0, len(predictions)).to_pylist()
    predictor = Predictor(run, cli.compose([f"run={run.path}"]))
    again = predictor([row["text"] for row in table])
    assert [p.value for p in again] == [line["prediction"] for line in predictions]
    assert [p.score for p in again] == pytest.approx(
        [line["score"] for line in predictions], rel=1e-5
    )


def test_a_missing_file_and_a_missing_column_are_said(tmp_path):
    said = say("predict", str(finished(BERT).path), str(tmp_path / "none.csv"))
    assert said.code == 3
    assert "none.csv" in said.problems()[0]
    (tmp_path / "odd.csv").write_text("number\n1\n2\n")
    said = say("predict", str(finished(BERT).path), str(tmp_path / "odd.csv"))
    assert said.code == 3
    assert "text" in said.problems()[0]


def test_an_unfinished_run_answers_nothing(tmp_path, rows):
    run = copy_of(finished(BERT), tmp_path)
    run.forget_stages(["export"])
    said = say("predict", str(run.path), str(rows))
    assert said.code == 2
    assert "no exported model" in said.problems()[0]


def test_a_file_is_read_with_the_settings_that_are_given(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_bytes("text\nKündigung\n\nwo ist mein Päckchen\n".encode("cp1252"))
    path = str(finished(BERT).path)
    assert say("predict", path, str(file)).code == 3
    said = say("predict", path, str(file), "data.encoding=cp1252", "data.on_invalid=drop")
    assert said.code == 0, said.err
    assert len(said.out.splitlines()) == 2


def test_settings_that_a_verb_does_not_use_are_refused(rows):
    path = str(finished(BERT).path)
    said = say("predict", path, str(rows), "train.max_steps=9")
    assert said.code == 2
    assert "`train.max_steps=9` is not used by `predict`" in said.problems()[0]
    said = say("evaluate", path, f"data.path={rows}")
    assert said.code == 2
    assert "is not used by `evaluate`" in said.problems()[0]
