"""`launch`: accelerate's options, the job's settings. Whole jobs: tests/faults/test_ranks.py."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from finetune.config.places import shipped
from finetune.errors import ConfigError
from finetune.runs import roll as rolls
from finetune.runs import storage
from finetune.runs.folder import RunFolder
from finetune.stages import launch
from finetune.training import sharding
from tests.stages.finished import say


@pytest.fixture(autouse=True)
def own_settings(monkeypatch, tmp_path):
    """Leave the user's own settings of accelerate out, and the environment as it was."""
    from accelerate.commands.config import config_args

    monkeypatch.setattr(config_args, "default_config_file", str(tmp_path / "none.yaml"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def settled(*options):
    arguments = launch.parsed(options, ["recipe=quickstart"])
    launch.settle(arguments)
    return arguments


def test_options_come_before_settings():
    assert launch.divided(["--num_processes", "2", "recipe=a", "seed=1"]) == (
        ["--num_processes", "2"], ["recipe=a", "seed=1"],
    )  # fmt: skip
    assert launch.divided(["--cpu", "-m", "finetune", "recipe=a"]) == (["--cpu"], ["recipe=a"])
    assert launch.divided(["--trust-remote-code", "run", "recipe=a"]) == (
        [], ["recipe=a", "--trust-remote-code"],
    )  # fmt: skip


@pytest.mark.parametrize("words", [["--cpu"], [], ["evaluate", "a=b"]])
def test_what_cannot_be_launched_is_refused(words):
    with pytest.raises(ConfigError):
        launch.divided(words)


@pytest.mark.parametrize(
    "options",
    [
        ["--num_procesess", "2"],
        ["train.py"],
        ["--num_processes", "two"],
        ["--mixed_precision", "bf16"],
        ["--num_machines", "4", "--num_processes", "2"],
        ["--config_file", "none.yaml"],
    ],
)
def test_a_wrong_option_is_a_sentence(options):
    with pytest.raises(ConfigError) as caught:
        settled(*options)
    assert caught.value.fix


def test_ranks_on_a_cpu_need_no_mpi_and_take_free_ports():
    arguments = settled("--cpu", "--num_processes", "2")
    assert (arguments.cpu, arguments.multi_gpu, arguments.standalone) == (False, True, True)
    assert arguments.main_process_port == 0
    assert arguments.training_script_args == ["recipe=quickstart", "train.device=cpu"]


def test_a_port_and_several_machines_are_left_as_they_are():
    arguments = settled(
        "--num_machines", "2", "--num_processes", "4", "--main_process_port", "1234"
    )
    assert arguments.main_process_port == 1234
    assert not hasattr(arguments, "standalone")


@pytest.mark.parametrize(
    ("name", "sharded"), [("ddp", 0), ("cpu", 0), ("fsdp2", 1), ("zero2", 1), ("zero3", 1)]
)
def test_the_shipped_files_are_accelerates_own(name, sharded):
    from accelerate.commands.config.config_args import load_config_from_file

    file = str(shipped("conf") / "accelerate" / f"{name}.yaml")
    load_config_from_file(file)
    arguments = settled("--config_file", file, "--num_processes", "3")
    assert arguments.num_processes == 3
    assert launch.is_sharded(arguments, launch.read(file)) == bool(sharded)
    assert ("train.device=cpu" in arguments.training_script_args) == (name == "cpu")


@pytest.mark.parametrize(
    ("options", "used"),
    [
        (["--use_deepspeed"], True),
        (["--config_file", str(shipped("conf") / "accelerate" / "zero3.yaml")], True),
        (["--config_file", str(shipped("conf") / "accelerate" / "fsdp2.yaml")], False),
    ],
)
def test_a_launch_that_needs_deepspeed_says_so_before_it_starts_ranks(
    options, used, monkeypatch, tmp_path
):
    arguments = launch.parsed(options, ["recipe=quickstart"])
    assert launch.uses_deepspeed(arguments, launch.read(arguments.config_file)) is used
    monkeypatch.setattr(sharding.importlib.util, "find_spec", lambda _: None)
    if used:
        with pytest.raises(ConfigError, match="DeepSpeed, which is not installed"):
            launch.launch(options, ["recipe=quickstart"], RunFolder(tmp_path), timeout=1)


def test_cores_are_divided_among_ranks(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert [launch.threads(n) for n in (1, 2, 16)] == [8, 4, 1]
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert launch.threads(2) == 3


def test_a_mistake_in_the_settings_is_said_before_anything_starts(monkeypatch):
    monkeypatch.setattr(launch, "launch", lambda *_, **__: pytest.fail("it started"))
    said = say("launch", "--num_processes", "2", "recipe=quickstart", "train.max_stps=3")
    assert said.code == 2
    assert len(said.problems()) == 1


def test_a_job_of_one_process_is_not_launched(tmp_path):
    from finetune.runs.folder import RunFolder

    alone = launch.launch(
        ["--num_processes", "1", "--cpu"], ["recipe=a"], RunFolder(tmp_path), timeout=8
    )
    assert alone == ["recipe=a", "train.device=cpu"]


def test_a_rank_that_is_left_over_is_ended(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    entry = {"pid": process.pid, "host": rolls.host(), "start": rolls.started(process.pid)}
    storage.write_json(tmp_path / "1.rank", entry)
    launch.end_all(tmp_path)
    assert process.wait(10) == -signal.SIGKILL
