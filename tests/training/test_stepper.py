"""One step up to its gradient: what is left out, reported, or cut smaller, and what resumes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from finetune.errors import NumericsError
from finetune.runs import storage
from finetune.tasks.text_classification import TextClassification
from finetune.training.events import Events
from finetune.training.seen import Seen
from finetune.training.stepper import Stepper, Watch
from tests.training.drive import config_of, log_of, train, weights_of

BERT = "text-classification"
EVERY_STEP = (
    "train.eval_strategy=no",
    "train.save_strategy=steps",
    "train.save_steps=1",
    "train.save_total_limit=9",
)


def plant(monkeypatch, wrong):
    """Let the losses of some calls be changed: call number (from 0), sums → sums."""
    losses, calls = TextClassification.row_losses, []

    def planted(self, model, batch):
        sums, counts = losses(self, model, batch)
        if model.training:
            calls.append(1)
            sums = wrong(len(calls) - 1, sums)
        return sums, counts

    monkeypatch.setattr(TextClassification, "row_losses", planted)


def events_of(run):
    file = run.path / "logs" / "events.jsonl"
    return storage.read_jsonl(file) if file.is_file() else []


def nan_in_second(number, sums):
    return sums * torch.nan if number == 1 else sums


def test_a_step_that_is_no_number_is_left_out_when_allowed_and_changes_no_weight(
    tmp_path, monkeypatch
):
    plant(monkeypatch, nan_in_second)
    options = ("train.max_steps=3", "train.max_nonfinite_steps=1")
    run, facts = train(config_of(BERT, tmp_path, "strategy=full", *options, *EVERY_STEP))
    one, two, three = (weights_of(run, step) for step in (1, 2, 3))
    assert one["model.safetensors"] == two["model.safetensors"] != three["model.safetensors"]
    assert one["optimizer.safetensors"] == two["optimizer.safetensors"]
    assert facts["nonfinite_steps"] == [2]
    assert [line["loss"] is None for line in log_of(run)] == [False, True, False]
    (event,) = events_of(run)
    assert (event["step"], event["event"]) == (2, "not_finite")
    assert event["rows"]


def test_one_more_than_allowed_ends_the_run(tmp_path, monkeypatch):
    plant(monkeypatch, lambda number, sums: sums * torch.nan if number else sums)
    options = ("train.max_steps=4", "train.max_nonfinite_steps=1")
    with pytest.raises(NumericsError, match="at step 3"):
        train(config_of(BERT, tmp_path, *options))


def test_a_loss_spike_is_written_down_with_its_rows(tmp_path, monkeypatch):
    monkeypatch.setattr("finetune.training.spikes.FEWEST", 3)
    plant(monkeypatch, lambda number, sums: sums * (20 if number == 5 else 1))
    run, _ = train(config_of(BERT, tmp_path, "train.max_steps=7"))
    (event,) = events_of(run)
    assert (event["step"], event["event"]) == (6, "loss_spike")
    assert event["loss"] > 10 * event["usual"]
    assert len(event["rows"]) == 8


def test_a_smaller_cut_is_kept_by_the_checkpoint_and_resumes_bit_identically(tmp_path, monkeypatch):
    losses = TextClassification.row_losses
    fits = {"rows": 99}

    def small(self, model, batch):
        if model.training and len(batch["labels"]) > fits["rows"]:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return losses(self, model, batch)

    monkeypatch.setattr(TextClassification, "row_losses", small)
    options = ("train.micro_batch_size=8", "model.dropout=0.1", *EVERY_STEP)
    fits["rows"] = 3
    whole, facts = train(config_of(BERT, tmp_path / "whole", "train.max_steps=4", *options))
    assert facts["micro_batch_size"] == 2
    assert [event["micro_batch_size"] for event in events_of(whole)] == [4, 2]
    cut, _ = train(config_of(BERT, tmp_path / "cut", "train.max_steps=4", *options))
    for step in (3, 4):
        storage.remove_tree(cut.checkpoints / f"step-{step}")
    assert (cut.checkpoints / "step-2").is_dir()
    fits["rows"] = 99  # what was learnt is kept, not found out again
    again, facts = train(config_of(BERT, tmp_path / "cut", "train.max_steps=4", *options))
    assert facts["micro_batch_size"] == 2
    assert weights_of(again, 4) == weights_of(whole, 4)
    assert events_of(again) == events_of(whole)


def test_a_plan_left_by_an_attempt_that_failed_is_followed(tmp_path):
    config = config_of(BERT, tmp_path, "train.max_steps=1", "train.micro_batch_size=8")
    storage.write_json(tmp_path / config.name / "checkpoints" / "plan.json", {"halvings": 2})
    _, facts = train(config)
    assert facts["micro_batch_size"] == 2


def test_a_log_line_averages_over_the_same_steps_wherever_a_checkpoint_falls(tmp_path):
    """A save on demand at step 3 must not leave a line of its own."""
    options = ("train.max_steps=6", "train.logging_steps=4", "train.eval_strategy=no")
    one, _ = train(config_of(BERT, tmp_path / "one", *options, "train.save_strategy=no"))
    two, _ = train(config_of(BERT, tmp_path / "two", *options, *EVERY_STEP[1:]))
    assert [line["step"] for line in log_of(one)] == [4, 6]
    assert log_of(two) == log_of(one)
    for step in (4, 5, 6):
        storage.remove_tree(two.checkpoints / f"step-{step}")
    assert (two.checkpoints / "step-3").is_dir()
    again, _ = train(config_of(BERT, tmp_path / "two", *options, *EVERY_STEP[1:]))
    assert log_of(again) == log_of(one)


def test_a_batch_is_left_out_of_an_engine_that_forgets_gradients_in_its_own_way():
    """DeepSpeed's `zero_grad` takes no arguments."""
    forgotten = []
    engine = SimpleNamespace(zero_grad=lambda: forgotten.append(True))
    trainer = SimpleNamespace(
        seen=Seen(),
        state=SimpleNamespace(global_step=0, max_steps=4),
        args=SimpleNamespace(device="cpu"),
    )
    assert float(Stepper(trainer, Events(None), Watch())._skip(engine)) == 0
    assert (forgotten, trainer.seen.skipped) == ([True], [1])
