"""Runs in a queue: saved when it says so, queued again, resumed; and what Slurm is asked for."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import cloudpickle
import psutil
import pytest

from finetune.config.hydra_launcher import LocalQueue, SlurmQueue
from finetune.errors import ConfigError
from finetune.runs import storage
from finetune.runs.folder import RunFolder
from finetune.stages import submission
from tests.stages.finished import BERT, arguments, say

pytest.importorskip("submitit", reason="the extra `slurm` is not installed")
ROOT = Path(__file__).resolve().parents[2]
cloudpickle.register_pickle_by_value(sys.modules[__name__])  # its Job is made in other processes

RUN = """
import pathlib, signal, sys, time
log = pathlib.Path(sys.argv[1])
def note(what):
    with log.open("a") as file:
        file.write(what + "\\n")
def save(*_):
    note("saved")
    sys.exit(0 if sys.argv[2] == "done" else 143)
signal.signal(signal.SIGTERM, save)
resumes = log.exists()
note("resumed" if resumes else "begun")
if sys.argv[2].isdigit():
    sys.exit(int(sys.argv[2]))
if resumes and sys.argv[2] in ("once", "done"):
    sys.exit(0)
while True:
    time.sleep(0.1)
"""


class Pretended(submission.Job):
    """A job whose run notes what happens to it."""

    def command(self):
        return [sys.executable, "-c", RUN, *self.arguments]


@pytest.fixture
def started(tmp_path, monkeypatch):
    """Return a function that starts a pretended run and returns its job and its notes."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    jobs = []

    def start(how, *, timeout_min=60, times=3):
        queue = LocalQueue(timeout_min=timeout_min)
        made = submission.executor(queue, tmp_path)
        made._executor.max_num_timeout = times
        log = tmp_path / "notes"
        jobs.append(made.submit(Pretended([str(log), how], seconds_to_save=20)))
        return jobs[-1], log

    yield start
    for job in jobs:
        job.cancel(check=False)


def until(holds, seconds=60):
    """Wait until something holds, and return it."""
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.05)
    return found


def task(job):
    """Return the process of a job's task, and that of the run in it."""
    (found,) = psutil.Process(int(job.job_id)).children()
    (run,) = found.children()
    return found, run


def notes(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.is_file() else []


def queue_signals(job, *numbers):
    """Send what a queue sends, to the task and to the run in it alike."""
    for process in task(job):
        for number in numbers:
            process.send_signal(number)


def test_a_preempted_run_saves_first_and_is_queued_again(started):
    job, log = started("once")
    until(lambda: notes(log) == ["begun"])
    queue_signals(job, signal.SIGUSR2)
    assert submission.exit_code(job) == 0
    assert notes(log) == ["begun", "saved", "resumed"]


def test_a_run_that_gets_sigterm_ahead_of_the_queues_signal_is_queued_again(started):
    job, log = started("once")
    until(lambda: notes(log) == ["begun"])
    parent, run = task(job)
    queue_signals(job, signal.SIGTERM)
    until(lambda: run.status() == psutil.STATUS_ZOMBIE)
    with pytest.raises(psutil.TimeoutExpired):
        parent.wait(5 * submission.POLL_SECONDS)
    parent.send_signal(signal.SIGUSR2)
    assert submission.exit_code(job) == 0
    assert notes(log) == ["begun", "saved", "resumed"]


def test_a_run_out_of_time_too_often_ends_saved_with_143(started):
    job, log = started("forever", timeout_min=5, times=0)
    until(lambda: notes(log) == ["begun"])
    queue_signals(job, signal.SIGUSR2)
    assert submission.exit_code(job) == 143
    assert notes(log) == ["begun", "saved"]


def test_a_run_that_ends_well_as_the_signal_comes_is_not_begun_again(started):
    job, log = started("done")
    until(lambda: notes(log) == ["begun"])
    queue_signals(job, signal.SIGUSR2)
    assert submission.exit_code(job) == 0
    assert notes(log) == ["begun", "saved"]


def test_the_exit_code_of_a_failed_run_comes_back(started):
    job, _ = started("3")
    assert submission.exit_code(job) == 3


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Put an sbatch on the path that keeps the files it is given."""
    programs = tmp_path / "bin"
    programs.mkdir()
    kept = tmp_path / "kept.sh"
    for name, text in {
        "srun": "exit 1",
        "sbatch": f'cp "$1" {kept}; echo "Submitted batch job 12"',
    }.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return kept


def options(text: str) -> dict[str, str]:
    """Return the #SBATCH options of a batch file."""
    lines = [line.removeprefix("#SBATCH --") for line in text.splitlines() if "#SBATCH" in line]
    return {key: value for key, _, value in (line.partition("=") for line in lines)}


def test_slurm_is_asked_for_what_the_launcher_says_and_to_queue_again(slurm, tmp_path):
    queue = SlurmQueue(
        partition="gpu", timeout_min=90, nodes=2, gpus_per_node=4, tasks_per_node=4, mem_gb=64,
        signal_delay_s=200, setup=["module load cuda"], additional_parameters={"mail-type": "END"},
    )  # fmt: skip
    made = submission.executor(queue, tmp_path)
    made.submit(submission.Job(["recipe=quickstart"], seconds_to_save=190))
    text = slurm.read_text()
    asked = options(text)
    expected = {
        "partition": "gpu", "time": "90", "nodes": "2", "gpus-per-node": "4", "requeue": "",
        "ntasks-per-node": "4", "mem": "64GB", "signal": "USR2@200", "job-name": "finetune",
        "mail-type": "END", "open-mode": "append",
    }  # fmt: skip
    assert {key: asked.get(key) for key in expected} == expected
    assert "module load cuda" in text.splitlines()
    assert f"{tmp_path}/.submitit/%j" in text
    assert made._executor.max_num_timeout == 3


def test_a_sweep_becomes_one_job_array(slurm, tmp_path):
    made = submission.executor(SlurmQueue(array_parallelism=2), tmp_path)
    with made.batch():
        jobs = [made.submit(submission.Job([str(n)], seconds_to_save=1)) for n in range(3)]
    assert options(slurm.read_text())["array"] == "0-2%2"
    assert [job.job_id for job in jobs] == ["12_0", "12_1", "12_2"]


def test_a_machine_without_slurm_is_told_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="srun"):
        submission.executor(SlurmQueue(), tmp_path)


def test_a_missing_submitit_names_the_command_that_installs_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ConfigError, match=r"pip install .*finetune\[slurm\]"):
        submission.executor(LocalQueue(), tmp_path)


LOCAL = ("hydra/launcher=submitit_local", "model.dropout=0.0", "train.max_steps=80")


@pytest.fixture
def queue_here(monkeypatch):
    for name, value in {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.slow
def test_a_real_run_that_is_preempted_ends_as_if_it_had_not_been(tmp_path, queue_here, monkeypatch):
    def interrupt(job):
        run = RunFolder(tmp_path / "b" / "case")
        until(lambda: run.metrics_log.is_file() and storage.read_jsonl(run.metrics_log), 240)
        queue_signals(job, signal.SIGUSR2)
        return exit_code(job)

    alone = say(*arguments(BERT, tmp_path / "a", *LOCAL[1:]))
    assert alone.code == 0, alone.err
    exit_code = submission.exit_code
    monkeypatch.setattr(submission, "exit_code", interrupt)
    queued = say(*arguments(BERT, tmp_path / "b", *LOCAL))
    assert queued.code == 0, queued.err
    (log,) = (tmp_path / "b" / ".submitit").glob("*/*_log.err")
    assert "The same command" in log.read_text()  # what a run says that was stopped
    losses = [
        [line["loss"] for line in storage.read_jsonl(run.metrics_log) if "loss" in line]
        for run in (RunFolder(tmp_path / name / "case") for name in "ab")
    ]
    assert losses[1] == losses[0]


@pytest.mark.slow
def test_the_tasks_of_a_job_train_one_run_together(tmp_path, queue_here):
    queued = say(*arguments(BERT, tmp_path, *LOCAL, "hydra.launcher.tasks_per_node=2"))
    assert queued.code == 0, queued.err
    train = RunFolder(tmp_path / "case").manifest()["stages"]["train"]
    assert train["world_size"] == 2
