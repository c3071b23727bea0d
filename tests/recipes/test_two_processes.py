"""Two ranks under `accelerate launch`: the same training, and no rank waits for a dead one."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from finetune.runs import storage
from finetune.runs.folder import RunFolder
from tests.faults import harness
from tests.stages.finished import BERT, arguments, say

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = [
    sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2",
    "--mixed_precision", "no", "--dynamo_backend", "no", "--num_machines", "1",
]  # fmt: skip
pytestmark = pytest.mark.slow


def launch(folder, *more, **options):
    """Start a job of two ranks."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [*LAUNCH, "--main_process_port", str(harness.free_port()), "-m", "finetune"]
    return subprocess.Popen(
        [*command, *arguments(BERT, folder, "model.dropout=0.0", *more)],
        cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True, **options,
    )  # fmt: skip


def finished(process, seconds=240):
    """Wait for a job and return its exit code and what it said."""
    try:
        _, said = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return process.returncode, said


def test_two_ranks_train_as_one_and_count_each_validation_row_once(tmp_path):
    code, said = finished(launch(tmp_path / "two"))
    assert code == 0, said
    assert "with 2 processes" in said
    alone = say(*arguments(BERT, tmp_path / "one", "model.dropout=0.0"))
    assert alone.code == 0, alone.err
    one, two = (RunFolder(tmp_path / name / "case") for name in ("one", "two"))
    lines = [storage.read_jsonl(run.metrics_log) for run in (one, two)]
    assert len(lines[0]) == len(lines[1])
    assert lines[1][0]["loss"] == pytest.approx(lines[0][0]["loss"], rel=1e-5)
    for key in ("loss", "grad_norm", "eval_loss", "units"):
        values = [[line[key] for line in part if key in line] for part in lines]
        assert values[1] == pytest.approx(values[0], rel=1e-3), key
    assert two.manifest()["stages"]["train"]["world_size"] == 2
    assert two.report.is_file()


def evaluations(run):
    """Return the evaluation lines of a run's log."""
    return [line for line in storage.read_jsonl(run.metrics_log) if "eval_loss" in line]


def test_an_odd_number_of_validation_rows_is_scored_whole(tmp_path):
    code, said = finished(launch(tmp_path / "two", "train.eval_max_rows=5"))
    assert code == 0, said
    alone = say(*arguments(BERT, tmp_path / "one", "model.dropout=0.0", "train.eval_max_rows=5"))
    assert alone.code == 0, alone.err
    found = [evaluations(RunFolder(tmp_path / name / "case")) for name in ("one", "two")]
    for one, two in zip(*found, strict=True):
        assert two == pytest.approx(one, rel=1e-3)
        assert (two["eval_accuracy"] * 5) % 1 == pytest.approx(0, abs=1e-9)


def test_a_failure_before_training_ends_both_ranks_with_one_message(tmp_path):
    began = time.monotonic()
    code, said = finished(launch(tmp_path, f"data.path={tmp_path}/none.csv"), 90)
    assert code != 0
    assert said.count("error: ") == 1, said
    assert "none.csv" in said
    assert time.monotonic() - began < 80


def test_a_killed_rank_ends_the_job_and_leaves_a_checkpoint_to_go_on_from(tmp_path):
    from finetune.training import checkpoint

    steps = ("train.max_steps=400", "train.eval_strategy=steps", "train.eval_steps=4")
    process = launch(tmp_path, *steps)
    run = RunFolder(tmp_path / "case")
    pids = []
    try:
        deadline = time.monotonic() + 180
        while not checkpoint.all_in(run.checkpoints) and time.monotonic() < deadline:
            time.sleep(0.2)
        pids = [storage.read_json(run.path / ".ranks" / f"{rank}.json")["pid"] for rank in (0, 1)]
        os.kill(pids[1], signal.SIGKILL)
        code, said = finished(process, 90)
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    assert code != 0
    assert said.count("error: Rank 1 died after step") == 1, said
    assert checkpoint.newest_valid(run.checkpoints) is not None
