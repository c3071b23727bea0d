"""What stops a step, in sentences."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from finetune.tasks.base import CoupledTask
from finetune.training import refusal
from finetune.training.rows import Rows


@pytest.mark.parametrize(
    "message",
    [
        "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: not enough memory",
        "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes",
        "CUDA out of memory. Tried to allocate 2.00 GiB",
        "MPS backend out of memory",
    ],
)
def test_torchs_ways_to_say_that_memory_ran_out_are_known(message):
    assert refusal.is_out_of_memory(RuntimeError(message))


def test_another_runtime_error_is_not_out_of_memory():
    assert not refusal.is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_out_of_memory_names_the_smaller_micro_batch():
    error = refusal.out_of_memory(7, 8)
    assert error.exit_code == 5
    assert "step 7 with 8 rows" in error.problems[0]
    assert "train.micro_batch_size=4" in error.fix


def test_one_row_that_does_not_fit_gets_no_advice_to_halve_it():
    error = refusal.out_of_memory(7, 1)
    assert "1 row in" in error.problems[0]
    assert "micro_batch_size" not in error.fix


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
