"""`-m`: all runs are checked before the first, all are tried, the first failure gives the code."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace

import pytest

from finetune.errors import ConfigError, FinetuneError
from finetune.stages import sweep

BASE = "recipe=bert/text_classification"


def composed(job):
    """Stand in for the composition of a job."""
    return SimpleNamespace(run=SimpleNamespace(dir="runs"))


@pytest.fixture
def tried(monkeypatch):
    """Return the commands of the runs, which end with the codes in `codes`."""
    commands: list[list[str]] = []

    def pretend(command, check):
        commands.append(command)
        return subprocess.CompletedProcess(command, len(commands) % 2 * 3)

    monkeypatch.setattr(subprocess, "run", pretend)
    return commands


def test_every_run_is_tried_and_the_first_failure_gives_the_code(tried):
    with pytest.raises(FinetuneError, match="2 of 3 runs failed") as raised:
        sweep.run_many([BASE, "seed=1,2,3"], check=composed)
    assert len(tried) == 3
    assert raised.value.exit_code == 3


def test_a_mistake_in_the_last_run_is_found_before_the_first(tried):
    def check(job):
        if "seed=3" in job:
            raise ConfigError("wrong")
        return composed(job)

    with pytest.raises(ConfigError):
        sweep.run_many([BASE, "seed=1,2,3"], check=check)
    assert not tried
