"""A profile of a run adds up, names what is slow, changes nothing, and is paid by those who ask."""

import subprocess
import sys
import time

import pytest

from finetune.runs import storage
from finetune.tasks.text_classification import TextClassification
from finetune.training.profile import Spans
from tests.contracts.cases import RECIPES
from tests.training.drive import config_of, log_of, train, weights_of

BERT, _, GPT, *_ = RECIPES
OPTIONS = ("train.max_steps=4", "train.eval_strategy=steps", "train.eval_steps=4")


def profile_of(run):
    folder = run.path / "logs/profile"
    return storage.read_json(folder / "profile.json"), (folder / "profile.md").read_text()


def test_a_span_within_another_is_taken_out_of_it(monkeypatch):
    now = iter(range(100))
    monkeypatch.setattr(time, "perf_counter", lambda: next(now))
    spans = Spans()
    with spans("step"):  # 0
        with spans("forward"):  # 1 to 2
            pass
        with spans("evaluation"), spans("forward"):  # 3 to 4, not divided
            pass
    assert dict(spans.seconds) == {"step": 3, "forward": 1, "evaluation": 1}


def test_a_slow_data_loader_is_named_as_the_cause(tmp_path, monkeypatch):
    collate = TextClassification.collate

    def slow(self, rows):
        time.sleep(1.0)
        return collate(self, rows)

    config = config_of(BERT, tmp_path, *OPTIONS[:1], "train.profile=true", "train.eval_strategy=no")
    monkeypatch.setattr(TextClassification, "collate", slow)
    run, _ = train(config)
    found, page = profile_of(run)
    assert found["parts"]["data"] >= 4
    assert "Most of it was data: waiting for batches" in page
    assert "raise `train.dataloader_num_workers`" in page


@pytest.mark.parametrize("tag", [BERT, GPT])
def test_the_numbers_add_up_and_nothing_else_changes(tmp_path, tag, capfd):
    plain, _ = train(config_of(tag, tmp_path / "plain", *OPTIONS))
    run, _ = train(config_of(tag, tmp_path / "profiled", *OPTIONS, "train.profile=true"))
    found, page = profile_of(run)
    assert "USDT" not in capfd.readouterr().err
    assert all(value >= 0 for value in found["parts"].values())
    assert 0 < sum(found["parts"].values()) <= found["seconds"]
    for part in ("data", "forward", "backward", "optimiser", "clipping", "evaluation"):
        assert found["parts"][part] > 0, part
    assert "| together |" in page
    assert "100.0% |" in page
    assert "of this rate" in page
    assert found["traced_steps"] == 3
    trace = storage.read_json(run.path / "logs/profile/trace.json")
    assert any("mm" in event.get("name", "") for event in trace["traceEvents"])
    assert log_of(run) == log_of(plain)
    assert weights_of(run, 4) == weights_of(plain, 4)


def test_it_costs_nothing_where_it_is_not_asked_for():
    program = "import finetune.stages.train, finetune.training.trainer, sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "finetune.training.trainer" in done.stdout.split()
    assert "finetune.training.profile" not in done.stdout.split()
    assert "finetune.training.work" not in done.stdout.split()
