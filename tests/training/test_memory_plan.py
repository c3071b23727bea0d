"""Whether activations are kept or computed again, with memory that is made up."""

from __future__ import annotations

import types

import pytest
import torch
from torch import nn

from finetune.errors import ConfigError
from finetune.tasks.text_classification import TextClassification
from finetune.training import memory_plan
from tests.training.drive import config_of, log_of, train

BERT, GPT = "text-classification", "text-generation"
MIB = 2**20


@pytest.mark.parametrize(
    ("size", "smallest", "free", "row", "wanted"),
    [
        (8, 1, 1000, 10, 8),
        (8, 1, None, 10**9, 8),
        (8, 1, 100, 10, 4),
        (8, 1, 60, 10, 2),
        (8, 4, 100, 10, 4),
        (8, 4, 60, 10, None),
        (5, 1, 100, 10, 3),
        (1, 1, 10, 10, None),
        (8, 1, 1000, None, None),
    ],
)
def test_micro_batches_are_halved_down_to_what_is_worth_it(size, smallest, free, row, wanted):
    assert memory_plan.largest_fitting(size, smallest, free, 10, row) == wanted


def test_halvings_are_those_that_the_stepper_does():
    assert [memory_plan.halvings(size, wanted) for size, wanted in ((8, 8), (8, 2), (5, 3))] == [
        0,
        2,
        1,
    ]


def test_small_micro_batches_of_long_rows_are_worth_it_of_short_ones_not():
    def smallest(length, size):
        rows = types.SimpleNamespace(lengths=[3, length])
        return memory_plan.smallest_worth(types.SimpleNamespace(train_rows=rows), size)

    assert smallest(2000, 8) == 1
    assert smallest(256, 8) == 2
    assert smallest(4, 8) == 8


def test_what_is_trained_takes_gradients_and_moments():
    model = nn.Sequential(nn.Linear(10, 10, bias=False), nn.Linear(10, 1))
    model[0].requires_grad_(False)
    assert memory_plan.of_trained(model, "adamw_torch_fused", 1) == 11 * (4 + 8)
    assert memory_plan.of_trained(model, "adamw_8bit", 1) == 11 * (4 + 2)
    assert memory_plan.of_trained(model, "sgd", 2) == 11 * (4 + 4)


def test_what_is_kept_is_counted_once_and_without_weights():
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4))
    x = torch.randn(5, 8)
    kept = memory_plan.kept_by(lambda: model(x), model)
    assert kept == 4 * 5 * (8 + 16), "the input, and the output of the tanh that two nodes keep"


@pytest.fixture
def free(monkeypatch):
    """Bytes that are said to be free."""
    found = {"bytes": 10**12}
    monkeypatch.setattr(memory_plan, "available", lambda _device: found["bytes"])
    return found


def run(tmp_path, *options, tag=BERT):
    steps = ("train.max_steps=2", "train.eval_strategy=no", "model.dropout=0.1")
    return train(config_of(tag, tmp_path, *steps, "train.gradient_checkpointing=auto", *options))


@pytest.mark.parametrize("strategy", ["full", "lora"])
def test_results_are_the_same_to_the_bit_whether_activations_are_kept_or_not(
    tmp_path, strategy, free
):
    logs = []
    for asked in ("true", "false", "auto"):
        options = (f"strategy={strategy}", f"train.gradient_checkpointing={asked}")
        found, facts = run(tmp_path / asked, *options)
        assert facts["memory_plan"]["gradient_checkpointing"] is (asked == "true")
        logs.append(log_of(found))
    assert logs[0] == logs[1] == logs[2]


def test_enough_memory_keeps_activations_and_little_computes_them_again(tmp_path, free, capsys):
    _, facts = run(tmp_path / "much")
    plan = facts["memory_plan"]
    assert plan["gradient_checkpointing"] is False
    assert plan["micro_batch_size"] == facts["micro_batch_size"] == 8
    assert "activations are" not in capsys.readouterr().err
    free["bytes"] = plan["trained_bytes"] + 8 * plan["row_bytes"]
    _, facts = run(tmp_path / "little", "train.micro_batch_size=8")
    plan = facts["memory_plan"]
    assert plan["gradient_checkpointing"] is True
    assert "do not fit into" in plan["because"]
    assert "activations are computed again: " in capsys.readouterr().err


def test_a_smaller_micro_batch_comes_before_computing_again(tmp_path, free, monkeypatch):
    monkeypatch.setattr(memory_plan, "BUSY", 1)
    _, facts = run(tmp_path / "much")
    plan = facts["memory_plan"]
    free["bytes"] = int((plan["trained_bytes"] + 1.75 * 2 * plan["row_bytes"]) / 0.8) + MIB // 100
    found, facts = run(tmp_path / "some")
    plan = facts["memory_plan"]
    assert plan["gradient_checkpointing"] is False
    assert plan["micro_batch_size"] == facts["micro_batch_size"] == 2
    wanted, _ = run(tmp_path / "plain", "train.micro_batch_size=2")
    assert [line["loss"] for line in log_of(found)] == pytest.approx(
        [line["loss"] for line in log_of(wanted)], rel=1e-5
    )


def test_a_row_that_does_not_fit_alone_is_computed_again(tmp_path, free, monkeypatch):
    losses = TextClassification.row_losses

    def bounded(self, model, batch):
        if model.training and not any(m.__dict__.get("gradient_checkpointing", False) for m in
                                      model.modules()):  # fmt: skip
            raise RuntimeError("CUDA out of memory.")
        return losses(self, model, batch)

    monkeypatch.setattr(TextClassification, "row_losses", bounded)
    _, facts = run(tmp_path, "train.padding_free=false", "train.micro_batch_size=8")
    assert facts["memory_plan"]["gradient_checkpointing"] is True
    assert facts["memory_plan"]["row_bytes"] is None


def test_another_failure_of_the_estimate_is_not_hidden(tmp_path, free, monkeypatch):
    losses, calls = TextClassification.row_losses, []

    def broken(self, model, batch):
        calls.append(batch)
        if len(calls) == 1:
            raise RuntimeError("shapes cannot be multiplied")
        return losses(self, model, batch)

    monkeypatch.setattr(TextClassification, "row_losses", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        run(tmp_path, "train.padding_free=false")


def test_shards_are_not_estimated():
    trainer = types.SimpleNamespace(
        micro_batch_size=4, model=None, is_sharded=True, args=types.SimpleNamespace(world_size=2)
    )
    plan = memory_plan.settle(trainer, asked="auto", may_cut=True, optim="sgd")
    assert not plan.gradient_checkpointing
    assert "ranks share the model" in plan.because


def test_an_architecture_without_layers_to_compute_again_is_refused_when_asked():
    with pytest.raises(ConfigError, match="can't compute its activations again"):
        memory_plan.recompute(nn.Linear(2, 2))


class Few:
    """Two rows of numbers."""

    lengths = (1, 2)

    def __len__(self):
        return 2

    def fetch(self, rows, visits):
        return rows


def test_means_of_a_norm_are_as_before_the_estimate():
    model = nn.Sequential(nn.BatchNorm1d(3)).eval()
    trainer = types.SimpleNamespace(
        train_rows=Few(),
        accelerator=types.SimpleNamespace(unwrap_model=lambda model: model),
        model=model,
        task=types.SimpleNamespace(
            collate=lambda _rows: {"x": torch.ones(4, 3)},
            loss=lambda model, batch: model(batch["x"]).sum(),
        ),
        compute_loss_context_manager=torch.enable_grad,
    )
    before = [buffer.clone() for buffer in model.buffers()]
    assert memory_plan.of_longest_row(trainer) > 0
    assert all(torch.equal(a, b) for a, b in zip(model.buffers(), before, strict=True))
    assert not model.training
