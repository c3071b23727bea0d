"""`evaluate` as the interface: ours offline, others only on request."""

import textwrap
from pathlib import Path
from typing import Any

import datasets
import evaluate
import numpy as np
import pytest

from finetune.errors import ArtefactError, ConfigError, DataError, HubError, NumericsError
from finetune.metrics import Metric, find, load, score, score_by_name
from finetune.metrics.modules import score_function


def test_each_of_ours_computes_the_same_as_an_evaluate_module(metric: Metric, perfect: Any) -> None:
    module = load(metric.name)
    assert isinstance(module, evaluate.EvaluationModule)
    assert module.name == metric.name
    expected = {metric.name: metric(*perfect)}
    assert module.compute(predictions=perfect[0], references=perfect[1]) == expected
    for start in range(2):
        module.add_batch(
            predictions=perfect[0][start : start + 1], references=perfect[1][start : start + 1]
        )
    assert module.compute() == expected


@pytest.mark.parametrize(
    ("name", "predictions", "references"),
    [
        ("accuracy", np.array([1, 2]), np.array([1, 1])),
        ("macro_f1", [0, 1], [0, 0]),
        ("bleu", ["a b c d e"], [["a b c d f", "a b c x e"]]),
        ("wer", ["", "a"], ["a", ""]),
    ],
)
def test_integers_and_several_references_pass_through_evaluate(
    name: str, predictions: Any, references: Any
) -> None:
    found = load(name).compute(predictions=predictions, references=references)
    assert found == {name: pytest.approx(find(name)(predictions, references))}


def test_ours_need_no_network_and_leave_nothing_on_disk(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("a connection was made"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("evaluate.config.HF_METRICS_CACHE", str(tmp_path / "cache"))
    module = load("chrf")
    module.add(prediction="a", reference="b")
    module.compute()
    assert list(tmp_path.iterdir()) == []


def test_foreign_code_is_refused_unless_it_is_trusted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(evaluate, "load", lambda *_, **__: pytest.fail("foreign code was loaded"))
    with pytest.raises(ArtefactError, match=r"`bertscore` is not one of .*trust=True"):
        load("bertscore")
    with pytest.raises(ArtefactError, match="did you mean `accuracy`"):
        load("acuracy")
    script = tmp_path / "mine.py"
    script.write_text("raise SystemExit")
    with pytest.raises(ArtefactError, match="runs its own code"):
        load(str(script))
    with pytest.raises(ArtefactError):
        score_by_name(["accuracy", "bertscore"], ["a"], ["a"])


@pytest.mark.parametrize(
    ("failure", "error", "match"),
    [
        (FileNotFoundError("Couldn't find a module script"), HubError, "connection"),
        (ConnectionError("offline"), HubError, "offline"),
        (ImportError("you need to install ['bert_score']"), ConfigError, "bert_score"),
        (RuntimeError("boom"), ArtefactError, "boom"),
    ],
)
def test_a_metric_that_does_not_load_says_why_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch, failure: Exception, error: type[Exception], match: str
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise failure

    monkeypatch.setattr(evaluate, "load", fail)
    with pytest.raises(error, match=match) as caught:
        load("bertscore", trust=True)
    assert caught.value.fix  # type: ignore[attr-defined]


def test_a_script_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"no metric script `nowhere\.py`"):
        load("nowhere.py", trust=True)


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A foreign metric as people write them: integer labels, a number, a list and a remark."""
    monkeypatch.setattr(datasets.config, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr("evaluate.config.HF_METRICS_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "hits.py"
    path.write_text(
        textwrap.dedent("""
        import datasets
        import evaluate

        class Hits(evaluate.Metric):
            def _info(self):
                return evaluate.MetricInfo(
                    description="", citation="", features=datasets.Features(
                        {"predictions": datasets.Value("int32"),
                         "references": datasets.Value("int32")}))

            def _compute(self, predictions, references):
                hits = [float(p == r) for p, r in zip(predictions, references)]
                return {"share": sum(hits) / len(hits), "rows": hits, "remark": "hello"}
        """)
    )
    return str(path)


def test_a_trusted_script_is_scored_with_intervals_beside_ours(script: str) -> None:
    predictions, references = ["a"] * 60 + ["b"] * 40, ["a"] * 100
    found = score_by_name([script, "accuracy"], predictions, references, trust=True)
    assert list(found) == ["hits_rows", "hits_share", "accuracy"]
    assert found["accuracy"] == score([find("accuracy")], predictions, references)["accuracy"]
    assert found["hits_rows"] == found["accuracy"]
    assert found["hits_share"].value == pytest.approx(0.6)
    assert found["hits_share"].low == pytest.approx(found["accuracy"].low, abs=0.06)
    assert found["hits_share"].high == pytest.approx(found["accuracy"].high, abs=0.06)


def test_a_script_that_refuses_the_rows_is_a_data_error(script: str) -> None:
    with pytest.raises(DataError, match="hits"):
        score_by_name([script], ["text", 1], [1, 2], trust=True)


def test_a_function_without_a_finite_result_is_named() -> None:
    with pytest.raises(NumericsError, match="`slope` is undefined"):
        score_function(lambda *_: {"slope": float("nan")}, [1], [1])
