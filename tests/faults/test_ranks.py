"""Ranks that die, hang, fail or are told to stop: one message, one code, nobody left behind."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from finetune.runs import roll as rolls
from finetune.runs import storage
from finetune.training import checkpoint
from tests.faults import harness

STEPS = 400
PATIENT = "train.dist_timeout=60"

# Runs in every process of a job before anything else: a fault in the data of one rank.
FAULTY = """
import importlib.abc, importlib.util, os, sys, time

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "finetune.tasks.text_classification" or os.environ.get("RANK") != "1":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        run = spec.loader.exec_module
        def exec_module(module):
            run(module)
            collate, calls = module.TextClassification.collate, []
            def faulty(self, *args, **kwargs):
                calls.append(1)
                if len(calls) == 6:
                    FAULT
                return collate(self, *args, **kwargs)
            module.TextClassification.collate = faulty
        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Finder())
"""
BAD_ROW = (
    "from finetune.errors import DataError; "
    "raise DataError('Row intents.csv:7 has no text.', fix='Remove it.')"
)


def launch(folder, *more, steps=STEPS, fault=""):
    """Start a job of two ranks; a fault is met by rank 1 in its sixth batch."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = {k: v for k, v in harness.environment().items() if k != "OMP_NUM_THREADS"}
    if fault:
        (folder / "faults").mkdir()
        (folder / "faults" / "sitecustomize.py").write_text(FAULTY.replace("FAULT", fault))
        environment["PYTHONPATH"] = f"{folder / 'faults'}{os.pathsep}{harness.ROOT}"
    options = ["launch", "--cpu", "--num_processes", "2"]
    settings = harness.command("text-classification", PATIENT, *more, steps=steps)
    log = harness.next_log(folder)
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "finetune", *options, *settings],
            cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=out,
            stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=harness.heed_signals,
        )  # fmt: skip
    return harness.Job(folder, process, log)


def ranks_of(job):
    """Return the processes of a job's ranks, as they are on its roll."""
    folder = job.run.path / ".ranks"
    return [storage.read_json(folder / f"{rank}.json")["pid"] for rank in (0, 1)]


def hit(job, number, *, rank=None, everyone=False):
    """Wait until a job has trained a few steps, send a signal; return its ranks and the time."""
    for _ in harness.polling(harness.PATIENCE, 0.05):
        if job.step() >= 5 and checkpoint.newest_valid(job.run.checkpoints):
            break
        assert job.poll() is None, job.said()
    pids = ranks_of(job)
    if rank is None:
        job.send(number, everyone=everyone)
    else:
        os.kill(pids[rank], number)
    return pids, time.monotonic()


def problems(job):
    """Return the sentences that a job ended with, checked to be all there is."""
    said = job.said()
    assert "Traceback" not in said, said
    assert "torch" not in said.replace("finetune/", ""), said
    assert not re.search(r"^[WE]\d{4} ", said, re.MULTILINE), said
    return [line for line in said.splitlines() if line.startswith("error: ")]


def left(pids):
    """Return the processes that still run; one that only waits to be taken note of doesn't."""
    found = []
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            rolls.started(pid)
            found.append(pid)
    return found


def assert_gone(pids):
    assert not left(pids)


def test_a_killed_rank_ends_the_job_and_is_named(tmp_path):
    job = launch(tmp_path)
    try:
        pids, since = hit(job, signal.SIGKILL, rank=1)
        assert job.wait(60) == 9, job.said()
        assert time.monotonic() - since < 30
        (problem,) = problems(job)
        assert re.fullmatch(r"error: Rank 1 was killed by SIGKILL after step \d+\.", problem)
        assert_gone(pids)
        assert checkpoint.newest_valid(job.run.checkpoints)
        assert storage.read_json(job.run.error)["code"] == 9
    finally:
        job.end()


@pytest.mark.slow
def test_what_a_killed_rank_broke_off_ends_with_the_weights_of_an_untouched_run(tmp_path):
    untouched = launch(tmp_path / "untouched", steps=30)
    broken = launch(tmp_path / "broken", steps=30)
    try:
        hit(broken, signal.SIGKILL, rank=1)
        assert broken.wait() == 9, broken.said()
        broken = launch(tmp_path / "broken", steps=30)
        assert broken.wait() == 0, broken.said()
        assert untouched.wait() == 0, untouched.said()
    finally:
        untouched.end()
        broken.end()
    weights = [(job.run.merged / "model.safetensors").read_bytes() for job in (untouched, broken)]
    assert weights[0] == weights[1]
    assert not (broken.run.path / ".ranks").exists()


@pytest.mark.slow
def test_rank_0_being_killed_ends_the_job_and_leaves_an_explanation(tmp_path):
    job = launch(tmp_path)
    try:
        pids, _ = hit(job, signal.SIGKILL, rank=0)
        assert job.wait(60) == 9, job.said()
        (problem,) = problems(job)
        assert "Rank 0 was killed by SIGKILL after step" in problem
        assert_gone(pids)
        assert "Rank 0" in storage.read_json(job.run.error)["what"][0]
    finally:
        job.end()


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_hung_rank_is_named_and_ended_after_the_time_out(tmp_path, rank):
    job = launch(tmp_path, "train.dist_timeout=8")
    try:
        pids, since = hit(job, signal.SIGSTOP, rank=rank)
        assert job.wait(90) == 9, job.said()
        assert 7 < time.monotonic() - since < 40
        (problem,) = problems(job)
        assert re.match(
            rf"error: Rank {rank} has hung after step \d+: .* 8 s; it was ended", problem
        )
        assert_gone(pids)
    finally:
        job.end()


@pytest.mark.slow
def test_a_rank_that_waits_for_ever_is_named(tmp_path):
    job = launch(tmp_path, "train.dist_timeout=8", fault="time.sleep(1000)")
    try:
        assert job.wait() == 9, job.said()
        (problem,) = problems(job)
        assert "Rank 1 has hung after step" in problem
    finally:
        job.end()


@pytest.mark.slow
def test_an_error_of_one_rank_is_shown_once_and_ends_all(tmp_path):
    job = launch(tmp_path, fault=BAD_ROW)
    try:
        assert job.wait() == 3, job.said()
        said = storage.read_json(job.run.path / ".ranks" / "1.error.json")["at"]
        assert time.time() - said < 25, "about 5 s where nothing else runs"
        (problem,) = problems(job)
        assert problem.startswith("error: Row intents.csv:7 has no text. [rank 1 after step")
        written = storage.read_json(job.run.error)
        assert written["code"] == 3
        assert "intents.csv:7" in written["what"][0]
    finally:
        job.end()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "how"),
    [
        (signal.SIGTERM, {"rank": 0}),
        (signal.SIGTERM, {"rank": 1}),
        (signal.SIGTERM, {}),
        (signal.SIGINT, {"everyone": True}),
    ],
    ids=["term-rank-0", "term-rank-1", "term-launcher", "ctrl-c"],
)
def test_a_request_to_stop_leaves_one_checkpoint_and_its_code(tmp_path, number, how):
    job = launch(tmp_path, "train.eval_steps=200", "train.save_steps=5")
    try:
        pids, _ = hit(job, number, **how)
        assert job.wait(60) == 128 + number, job.said()
        (problem,) = problems(job)
        step = re.search(r"saved as checkpoint (step-\d+)", problem)[1]
        assert checkpoint.newest_valid(job.run.checkpoints).name == step
        assert not job.run.error.exists()
        assert_gone(pids)
    finally:
        job.end()


@pytest.mark.slow
def test_a_failure_while_preparing_ends_all_ranks_with_one_message(tmp_path):
    job = launch(tmp_path, "data.path=none.csv")
    try:
        assert job.wait(120) in (2, 3), job.said()
        assert len(problems(job)) == 1
        assert "none.csv" in job.said()
    finally:
        job.end()


@pytest.mark.slow
def test_a_killed_launcher_leaves_no_rank_behind(tmp_path):
    job = launch(tmp_path)
    try:
        pids, _ = hit(job, signal.SIGKILL)
        for _ in harness.polling(60, 0.2):
            if not left(pids):
                break
        assert_gone(pids)
        assert checkpoint.newest_valid(job.run.checkpoints)
    finally:
        job.end()
