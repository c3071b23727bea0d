"""The Python API: the command line's path, without the command line."""

from __future__ import annotations

import pytest

import finetune
from finetune.errors import ConfigError, DataError
from tests.contracts.cases import RECIPES
from tests.stages.finished import BERT, QUICK, finished


def test_what_is_public_is_sorted_and_there():
    assert list(finetune.__all__) == sorted(finetune.__all__)
    assert all(hasattr(finetune, name) for name in finetune.__all__)
    assert {"Run", "load", "run"} <= set(finetune.__all__)


def test_a_run_is_opened_with_its_scores_model_and_report():
    run = finetune.load(finished(BERT).path)
    assert run.path == finished(BERT).path
    assert 0 <= run.metrics["test"]["accuracy"]["value"] <= 1
    assert run.merged.is_dir()
    assert run.report.is_file()
    assert run.manifest["task"] == "text-classification"
    assert "iframe" in run._repr_html_()
    assert str(run.path) in repr(run)


def test_a_predictor_answers_bare_texts_and_rows_alike():
    predict = finetune.load(finished(BERT).path).predictor()
    assert predict(["where is my parcel"]) == predict([{"text": "where is my parcel"}])
    assert predict([]) == []


def test_what_is_no_run_is_said(tmp_path):
    with pytest.raises(ConfigError, match="no run folder"):
        finetune.load(tmp_path)


def test_rows_from_python_are_trained_on(tmp_path):
    rows = [
        {"text": f"{word} number {n}", "label": word} for n in range(12) for word in ("yes", "no")
    ]
    recipe, model = RECIPES[BERT]
    run = finetune.run(
        recipe, f"model={model}", f"run.dir={tmp_path}", "name=rows", *QUICK, "data.slices=[]",
        rows=rows,
    )  # fmt: skip
    assert run.manifest["command"][0] == "finetune.run"
    assert sum(run.manifest["data"]["rows"].values()) == 24
    assert run.predictor()(["yes number 3"])[0].value in ("yes", "no")


def test_a_mistake_is_an_exception_with_the_fix(tmp_path):
    with pytest.raises(ConfigError, match="quickstrat"):
        finetune.run("quickstrat")
    recipe, model = RECIPES[BERT]
    with pytest.raises(DataError, match=r"none\.csv"):
        finetune.run(
            recipe, f"model={model}", f"run.dir={tmp_path}", f"data.path={tmp_path}/none.csv"
        )
