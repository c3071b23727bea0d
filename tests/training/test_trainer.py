"""The trainer: what stops it, what it survives, and what leaves the result alone."""

from __future__ import annotations

import json

import pytest
import torch

from finetune.errors import DataError, NumericsError
from finetune.runs import storage
from finetune.runs.folder import RunFolder
from finetune.stages import train as stage
from finetune.tasks.text_classification import TextClassification
from finetune.training import checkpoint, validation
from finetune.training.trainer import TaskTrainer
from tests.training.drive import config_of, log_of, train, weights_of

BERT, GPT = "text-classification", "text-generation"
EVERY_STEP = ("train.eval_strategy=steps", "train.eval_steps=1", "train.save_total_limit=9")


@pytest.fixture
def trainers(monkeypatch):
    """The trainers that were made, the newest last."""
    made = []
    make = stage.make_trainer

    def remember(*args, **kwargs):
        made.append(make(*args, **kwargs))
        return made[-1]

    monkeypatch.setattr(stage, "make_trainer", remember)
    return made


def during(trainers, step):
    """Tell whether a step (1-based) is being trained right now, not validated."""
    return trainers[-1].model.training and trainers[-1].state.global_step == step - 1


class Explode(torch.autograd.Function):
    """The identity, whose gradient is infinite."""

    @staticmethod
    def forward(_, x):
        return x.clone()

    @staticmethod
    def backward(_, gradient):
        return gradient * torch.inf


def test_a_loss_that_is_no_number_stops_before_the_weights_change_and_names_its_rows(
    tmp_path, monkeypatch, trainers
):
    losses = TextClassification.row_losses
    label = []

    def planted(self, model, batch):
        sums, counts = losses(self, model, batch)
        if during(trainers, 3):
            label[:] = label or [batch["labels"][0].item()]
            sums = torch.where(batch["labels"] == label[0], torch.nan, sums)
        return sums, counts

    monkeypatch.setattr(TextClassification, "row_losses", planted)
    config = config_of(BERT, tmp_path, "strategy=full", "train.max_steps=4", *EVERY_STEP)
    with pytest.raises(NumericsError) as caught:
        train(config)
    (problem,) = caught.value.problems
    assert caught.value.exit_code == 5
    assert "The loss is nan at step 3" in problem
    assert "step-2" in problem
    run = RunFolder(tmp_path / config.name)
    data = trainers[0].train_rows.raw
    guilty = [row["id"] for row in data if config.task.labels.index(row["label"]) == label[0]]
    named = [row["id"] for row in data if f" {row['id']}," in problem.replace(";", ",")]
    assert named
    assert set(named) <= set(guilty)
    assert [entry.name for entry in checkpoint.all_in(run.checkpoints)] == ["step-1", "step-2"]
    from safetensors.torch import load_file

    saved = load_file(run.checkpoints / "step-2" / "model.safetensors")
    now = trainers[0].model.state_dict()
    assert all(torch.equal(now[name], saved[name]) for name in saved)
    assert all(bool(tensor.isfinite().all()) for tensor in saved.values())


@pytest.mark.parametrize("clip", [0, 1])
def test_a_gradient_that_is_not_finite_stops_alike(tmp_path, monkeypatch, trainers, clip):
    losses = TextClassification.row_losses

    def planted(self, model, batch):
        sums, counts = losses(self, model, batch)
        return (Explode.apply(sums) if during(trainers, 2) else sums), counts

    monkeypatch.setattr(TextClassification, "row_losses", planted)
    config = config_of(BERT, tmp_path, f"train.max_grad_norm={clip}", *EVERY_STEP)
    with pytest.raises(
        NumericsError, match=r"The gradient's norm is (inf|nan) at step 2"
    ) as caught:
        train(config)
    assert "train.csv:" in caught.value.problems[0] or "rows" in caught.value.problems[0]
    assert [c.name for c in checkpoint.all_in(tmp_path / config.name / "checkpoints")] == ["step-1"]
    assert all(bool(p.isfinite().all()) for p in trainers[0].model.parameters())


def test_out_of_memory_halves_the_micro_batch_once_and_changes_no_number(tmp_path, monkeypatch):
    options = ("train.max_steps=3", "model.dropout=0.0")
    run, _ = train(config_of(BERT, tmp_path / "fits", "train.micro_batch_size=2", *options))
    losses = TextClassification.row_losses
    failures = []

    def small_machine(self, model, batch):
        if len(batch["labels"]) > 2:
            failures.append(len(batch["labels"]))
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return losses(self, model, batch)

    monkeypatch.setattr(TextClassification, "row_losses", small_machine)
    other, facts = train(config_of(BERT, tmp_path / "small", "train.micro_batch_size=8", *options))
    assert failures == [8, 4]
    assert facts["micro_batch_size"] == 2
    for one, two in zip(log_of(run), log_of(other), strict=True):
        assert one == pytest.approx(two, rel=1e-6)


def test_memory_that_runs_out_late_in_a_step_leaves_no_gradient_of_its_first_rows(
    tmp_path, monkeypatch
):
    options = ("train.max_steps=2", "model.dropout=0.0", "train.padding_free=false")
    run, _ = train(config_of(BERT, tmp_path / "fits", "train.micro_batch_size=2", *options))
    losses = TextClassification.row_losses
    calls = []

    def fills_up(self, model, batch):
        calls.append(len(batch["labels"]))
        if calls == [4, 4]:  # the second micro-batch; the first one's gradient is there
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return losses(self, model, batch)

    monkeypatch.setattr(TextClassification, "row_losses", fills_up)
    other, facts = train(config_of(BERT, tmp_path / "full", "train.micro_batch_size=4", *options))
    assert calls[:3] == [4, 4, 2]
    assert facts["micro_batch_size"] == 2
    for one, two in zip(log_of(run), log_of(other), strict=True):
        assert one == pytest.approx(two, rel=1e-6)


def test_out_of_memory_for_a_single_row_is_said(tmp_path, monkeypatch):
    def no_memory(self, model, batch):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(TextClassification, "row_losses", no_memory)
    with pytest.raises(NumericsError, match="Memory ran out at step 1 with 1 row in"):
        train(config_of(BERT, tmp_path, "train.max_steps=2"))


def test_another_runtime_error_is_not_swallowed(tmp_path, monkeypatch):
    def broken(self, model, batch):
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(TextClassification, "row_losses", broken)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        train(config_of(BERT, tmp_path, "train.max_steps=2"))


def test_a_batch_without_a_unit_changes_neither_weights_nor_moments(
    tmp_path, monkeypatch, trainers
):
    units = TextClassification.units
    monkeypatch.setattr(
        TextClassification,
        "units",
        lambda self, batch: 0 if during(trainers, 2) else units(self, batch),
    )
    options = ("strategy=full", "train.weight_decay=0.1", "train.max_steps=3", *EVERY_STEP)
    run, _ = train(config_of(BERT, tmp_path, *options))
    one, two, three = (weights_of(run, step) for step in (1, 2, 3))
    assert one["model.safetensors"] == two["model.safetensors"] != three["model.safetensors"]
    assert one["optimizer.safetensors"] == two["optimizer.safetensors"]
    assert trainers[0].seen.skipped == [2]
    (event,) = storage.read_jsonl(run.path / "logs" / "events.jsonl")
    assert (event["step"], event["event"], len(event["rows"])) == (2, "skipped", 8)
    assert log_of(run)[2]["loss"] == 0


def test_data_without_units_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(TextClassification, "units", lambda *_: 0)
    with pytest.raises(DataError, match="no token that carries loss"):
        train(config_of(BERT, tmp_path, "train.max_steps=4"))


@pytest.mark.parametrize("tag", [BERT, GPT])
def test_how_often_validation_is_scored_does_not_change_the_weights(tmp_path, tag):
    options = ("train.max_steps=3", "strategy.lora_dropout=0.2", "train.eval_max_rows=4")
    quiet, _ = train(config_of(tag, tmp_path / "quiet", *options))
    often, _ = train(config_of(tag, tmp_path / "often", *options, *EVERY_STEP))
    assert any("eval_loss" in line for line in log_of(often))
    one, two = weights_of(quiet, 3), weights_of(often, 3)
    assert one.pop("trainer_state.json") != two.pop("trainer_state.json")  # the best score
    counts = [json.loads(files.pop("seen.json")) for files in (one, two)]
    assert counts[0].pop("best_loss") != counts[1].pop("best_loss")
    assert counts[0] == counts[1]
    assert one == two
    assert [n for n in log_of(often) if "loss" in n] == log_of(quiet)


class PowerCut(BaseException):
    """What no code catches."""


def cut_power(monkeypatch, when):
    """Stop for good where `when(trainer)` holds, at the end of a step."""
    log = TaskTrainer._maybe_log_save_evaluate

    def cut(self, *args, **kwargs):
        if when(self):
            raise PowerCut
        return log(self, *args, **kwargs)

    monkeypatch.setattr(TaskTrainer, "_maybe_log_save_evaluate", cut)


RESUMES = [
    (GPT, "lora", 3, "train.logging_steps=1"),
    pytest.param(GPT, "qlora", 5, "train.logging_steps=3", marks=pytest.mark.slow),
    (BERT, "full", 6, "train.logging_steps=4"),
    pytest.param(
        "zero-shot-image-classification", "lora", 3, "train.logging_steps=1", marks=pytest.mark.slow
    ),
]


def lasting(facts):
    """Return what training did, without how much memory was free."""
    return {key: value for key, value in facts.items() if key != "memory_plan"}


@pytest.mark.parametrize(("tag", "strategy", "step", "logging"), RESUMES)
def test_a_resumed_run_ends_bit_identical_to_an_uninterrupted_one(
    tmp_path, monkeypatch, tag, strategy, step, logging
):
    options = (
        f"strategy={strategy}",
        "train.max_steps=7",
        "train.eval_strategy=steps",
        "train.eval_steps=2",
        "train.eval_max_rows=4",
        "model.dropout=0.1",
        logging,
    )
    whole, facts = train(config_of(tag, tmp_path / "whole", *options))
    with monkeypatch.context() as patch:
        cut_power(patch, lambda trainer: trainer.state.global_step == step)
        with pytest.raises(PowerCut):
            train(config_of(tag, tmp_path / "cut", *options))
    cut, resumed = train(config_of(tag, tmp_path / "cut", *options))
    assert weights_of(cut, 7) == weights_of(whole, 7)
    assert log_of(cut) == log_of(whole)
    assert lasting(resumed) == lasting(facts)


def test_patience_survives_a_resume(tmp_path, monkeypatch):
    """Early stopping counts the evaluations before the stop as well."""
    options = (
        "train.max_steps=8",
        "train.learning_rate=1e-9",
        "train.early_stopping_patience=3",
        *EVERY_STEP,
    )
    whole, facts = train(config_of(BERT, tmp_path / "whole", *options))
    assert facts["stopped_early"]
    with monkeypatch.context() as patch:
        cut_power(patch, lambda trainer: trainer.state.global_step == 3)
        with pytest.raises(PowerCut):
            train(config_of(BERT, tmp_path / "cut", *options))
    cut, resumed = train(config_of(BERT, tmp_path / "cut", *options))
    assert lasting(resumed) == lasting(facts)
    assert log_of(cut) == log_of(whole)


@pytest.mark.parametrize(("losses", "kept"), [((5.5, 3.3, 2.9), 3), ((2.0, 1.0, 1.5), 2)])
def test_a_tie_keeps_the_step_with_the_lower_validation_loss_also_after_a_resume(
    tmp_path, monkeypatch, losses, kept
):
    given = {}
    monkeypatch.setattr(
        validation,
        "scores",
        lambda *_: {"eval_accuracy": 0.0, "eval_loss": next(given["losses"])},
    )
    config = config_of(BERT, tmp_path, "train.max_steps=3", *EVERY_STEP)
    given["losses"] = iter(losses)
    with monkeypatch.context() as patch:
        cut_power(patch, lambda trainer: trainer.state.global_step == 3)
        with pytest.raises(PowerCut):
            train(config)
    given["losses"] = iter(losses[2:])
    _, facts = train(config)
    assert (facts["best_step"], facts["kept"]) == (kept, f"step-{kept}")


@pytest.mark.parametrize("steps", [4, 7])
def test_a_run_that_dies_after_its_last_checkpoint_trains_no_step_more(tmp_path, steps):
    options = (f"train.max_steps={steps}", "train.eval_strategy=epoch")
    run, facts = train(config_of(BERT, tmp_path, *options))
    weights, log = weights_of(run, steps), log_of(run)
    _, again = train(config_of(BERT, tmp_path, *options))
    assert lasting(again) == lasting(facts)
    assert weights_of(run, steps) == weights
    assert log_of(run) == log


def test_a_damaged_newest_checkpoint_is_replaced_by_the_one_before(tmp_path, monkeypatch):
    options = ("train.max_steps=6", "train.eval_strategy=steps", "train.eval_steps=2")
    whole, _ = train(config_of(BERT, tmp_path / "whole", *options))
    with monkeypatch.context() as patch:
        cut_power(patch, lambda trainer: trainer.state.global_step == 5)
        with pytest.raises(PowerCut):
            train(config_of(BERT, tmp_path / "cut", *options))
    run = RunFolder(tmp_path / "cut" / whole.path.name)
    file = run.checkpoints / "step-4" / "adapter_model.safetensors"
    content = bytearray(file.read_bytes())
    content[-5] ^= 4
    file.write_bytes(content)
    train(config_of(BERT, tmp_path / "cut", *options))
    assert (run.checkpoints / ".bad-step-4").is_dir()
    assert weights_of(run, 6) == weights_of(whole, 6)
    assert log_of(run) == log_of(whole)


def test_power_lost_while_a_checkpoint_is_written_leaves_the_one_before(tmp_path, monkeypatch):
    options = ("train.max_steps=4", "train.eval_strategy=steps", "train.eval_steps=2")
    whole, _ = train(config_of(BERT, tmp_path / "whole", *options))
    commit = checkpoint.commit

    def cut(staged, target, facts):
        if target.name == "step-4":
            raise PowerCut
        commit(staged, target, facts)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "commit", cut)
        with pytest.raises(PowerCut):
            train(config_of(BERT, tmp_path / "cut", *options))
    run, _ = train(config_of(BERT, tmp_path / "cut", *options))
    assert weights_of(run, 4) == weights_of(whole, 4)
    assert log_of(run) == log_of(whole)
    assert not (run.checkpoints / ".saving").exists()
