"""Evaluating once more."""

from __future__ import annotations

from finetune.runs import storage
from tests.stages.finished import BERT, copy_of, finished, say


def test_evaluate_scores_again_with_other_settings(tmp_path):
    run = copy_of(finished(BERT), tmp_path)
    merged = (run.merged / "model.safetensors").read_bytes()
    said = say("evaluate", str(run.path), "evaluate.max_rows=5", "evaluate.base_model=false")
    assert said.code == 0, said.err
    found = storage.read_json(run.evaluation / "metrics.json")
    assert found["rows"] == {"test": 5}
    assert "base_model" not in found["baselines"]
    assert len(storage.read_jsonl(run.evaluation / "predictions.jsonl")) == 5
    assert (run.merged / "model.safetensors").read_bytes() == merged
    assert said.err.count("evaluate") >= 1


def test_a_run_without_an_exported_model_is_refused(tmp_path):
    run = copy_of(finished(BERT), tmp_path)
    run.forget_stages(["export"])
    said = say("evaluate", str(run.path))
    assert said.code == 2
    assert "no exported model yet" in said.problems()[0]
    assert f"run={run.path}" in said.err


def test_the_same_evaluation_gives_the_same_bytes(tmp_path):
    run = copy_of(finished(BERT), tmp_path)
    before = [
        (run.evaluation / name).read_bytes() for name in ("metrics.json", "predictions.jsonl")
    ]
    assert say("evaluate", str(run.path)).code == 0
    after = [(run.evaluation / name).read_bytes() for name in ("metrics.json", "predictions.jsonl")]
    assert after == before
