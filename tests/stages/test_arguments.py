"""Our settings as transformers' arguments."""

from __future__ import annotations

import pytest

from finetune.errors import ConfigError
from finetune.stages import arguments as arguments_of
from tests.stages.finished import BERT


def test_a_tracker_that_is_not_installed_is_said():
    with pytest.raises(ConfigError, match="swanlab") as caught:
        arguments_of.trackers(["swanlab"])
    assert "pip install swanlab" in caught.value.fix
    assert arguments_of.trackers([]) == []


def test_a_run_whose_warm_up_would_be_one_step_learns_in_its_first() -> None:
    from finetune import cli
    from tests.stages.finished import finished

    run = finished(BERT)
    config = cli.compose([f"run={run.path}"])
    for steps in (1, 20, 33):
        config.train.max_steps = steps
        assert arguments_of.warmup_steps(config, run) == 0
    config.train.max_steps = 34
    assert arguments_of.warmup_steps(config, run) == 2
    config.train.max_steps = 200
    assert arguments_of.warmup_steps(config, run) == 12
