"""Every optimiser that can be asked for trains on a CPU and goes on from a checkpoint."""

from __future__ import annotations

from typing import get_args, get_type_hints

import pytest
import torch

from finetune.config.schema import TrainConfig
from finetune.training.trainer import TaskTrainer
from tests.training.drive import config_of, log_of, train, weights_of
from tests.training.test_trainer import PowerCut, cut_power

OPTIMISERS = [
    pytest.param(name, marks=() if name == "paged_adamw_8bit" else pytest.mark.slow)
    for name in get_args(get_type_hints(TrainConfig)["optim"])
]
OPTIONS = (
    *("train.max_steps=4", "train.eval_strategy=no", "train.save_strategy=steps"),
    *("train.save_steps=2", "model.dropout=0.1", "train.learning_rate=1e-3"),
)


@pytest.mark.parametrize("optim", OPTIMISERS)
def test_an_optimiser_trains_and_resumes_to_the_bit(tmp_path, monkeypatch, optim):
    kinds = set()
    save = TaskTrainer._save_checkpoint

    def noting(self, *args, **kwargs):
        for state in self.optimizer.optimizer.state.values():
            kinds.update(v.dtype for v in state.values() if isinstance(v, torch.Tensor))
        save(self, *args, **kwargs)

    monkeypatch.setattr(TaskTrainer, "_save_checkpoint", noting)
    options = (*OPTIONS, f"train.optim={optim}")
    whole, _ = train(config_of("text-classification", tmp_path / "whole", *options))
    assert (torch.uint8 in kinds) is ("8bit" in optim), "large tensors are kept in 8 bits"
    with monkeypatch.context() as patch:
        cut_power(patch, lambda trainer: trainer.state.global_step == 3)
        with pytest.raises(PowerCut):
            train(config_of("text-classification", tmp_path / "cut", *options))
    cut, _ = train(config_of("text-classification", tmp_path / "cut", *options))
    assert weights_of(cut, 4) == weights_of(whole, 4)
    assert log_of(cut) == log_of(whole)
