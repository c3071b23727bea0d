"""What stops a step, in sentences."""

from __future__ import annotations

from pathlib import Path

import torch

from finetune.tasks.base import CoupledTask
from finetune.training import refusal
from finetune.training.rows import Rows


def test_out_of_memory_names_the_smaller_micro_batch():
    error = refusal.out_of_memory(7, 8)
    assert error.exit_code == 5
    assert "step 7 with 8 rows" in error.problems[0]
    assert "train.micro_batch_size=4" in error.fix


def test_one_row_that_does_not_fit_gets_no_advice_to_halve_it():
    error = refusal.out_of_memory(7, 1)
    assert "1 row in" in error.problems[0]
    assert "micro_batch_size" not in error.fix


def test_where_ranks_meet_within_a_pass_the_next_attempt_is_announced():
    error = refusal.out_of_memory(7, 8, resumable=True)
    assert error.exit_code == 5
    assert "goes on from the last checkpoint with half of that" in error.fix


def test_not_finite_names_step_rows_and_last_checkpoint():
    ids = [f"train.csv:{n}" for n in range(11)]
    error = refusal.not_finite("The loss is nan", step=3, ids=ids, last=Path("x/step-2"))
    assert error.exit_code == 5
    assert error.where == "step 3"
    assert "train.csv:0, train.csv:1" in error.problems[0]
    assert "and 3 more" in error.problems[0]
    assert "step-2" in error.problems[0]


class Planted:
    """A task whose row 2 has a loss that is no number."""

    def collate(self, features):
        return {"x": torch.tensor([item["x"] for item in features])}

    def row_losses(self, model, batch):
        return torch.where(batch["x"] == 2, torch.nan, batch["x"]), torch.ones(len(batch["x"]))


def rows():
    return Rows(
        ids=list("abcd"), raw=None, lengths=[1] * 4, fetch=lambda n: [{"x": float(i)} for i in n]
    )


def test_the_guilty_row_is_found():
    assert refusal.guilty(Planted(), torch.nn.Linear(1, 1), rows(), [0, 1, 2, 3]) == [2]


def test_all_rows_are_named_where_none_stands_out_alone():
    assert refusal.guilty(Planted(), torch.nn.Linear(1, 1), rows(), [0, 1]) == [0, 1]


def test_rows_of_a_coupled_loss_are_not_judged_alone(monkeypatch):
    monkeypatch.setattr(CoupledTask, "__abstractmethods__", frozenset())
    assert refusal.guilty(CoupledTask(), torch.nn.Linear(1, 1), rows(), [0, 1, 2]) == [0, 1, 2]
