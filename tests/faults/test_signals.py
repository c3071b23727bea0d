"""Being asked to end: the step is finished and saved, the code says why, and nothing is lost."""

from __future__ import annotations

import functools
import random
import re
import signal
import time

import pytest

from finetune.training import checkpoint
from tests.contracts.cases import RECIPES
from tests.faults import harness
from tests.faults.harness import Moment
from tests.faults.test_kill import CASES

BERT, *_ = RECIPES
CODES = {signal.SIGTERM: 143, signal.SIGINT: 130}
GRACE = 30.0
"""Seconds within which a run ends after the first signal."""


def resumed(folder, arguments):
    """Finish a run that was stopped, compare it, and return what its last attempt said."""
    ended = harness.finish(lambda: harness.fork(folder, arguments), trained=True)
    found = harness.differences(
        harness.uninterrupted(tuple(arguments)), harness.fingerprint(folder), trained=True
    )
    assert not found, found
    return ended.said


def told_step(job):
    """Return the step that a stopped run says it has saved, having checked the checkpoint."""
    told = re.search(r"after step (\d+), which is saved as checkpoint step-\1", job.said())
    assert told, job.said()
    assert checkpoint.problem_with(job.run.checkpoints / f"step-{told[1]}") is None
    return int(told[1])


def test_a_signal_between_micro_batches_saves_after_the_whole_step(tmp_path):
    tag, *more = CASES["accumulation"]
    arguments = harness.command(tag, *more)
    third_step = 4 * 2 + 2  # its second of four micro-batches
    first = functools.partial(harness.within, tag, {third_step: harness.signalling(signal.SIGTERM)})
    job = harness.fork(tmp_path, arguments, first=first)
    assert job.wait() == 143, job.said()
    assert told_step(job) == 3
    assert not job.run.error.exists()
    assert "going on from step-3" in resumed(tmp_path, arguments)


@pytest.mark.slow
@pytest.mark.parametrize("number", CODES)
def test_a_second_signal_ends_at_once_and_leaves_the_previous_checkpoint(tmp_path, number):
    tag, *more = CASES["accumulation"]
    arguments = harness.command(tag, *more)
    fifth_step = 4 * 4 + 2
    first = functools.partial(harness.within, tag, {fifth_step: harness.signalling(number, number)})
    job = harness.fork(tmp_path, arguments, first=first)
    assert job.wait() in (CODES[number], -number), job.said()
    assert "Traceback" not in job.said()
    newest = checkpoint.newest_valid(job.run.checkpoints)
    assert newest is not None
    assert newest.name == "step-4"
    assert "going on from step-4" in resumed(tmp_path, arguments)


@pytest.mark.slow
@pytest.mark.parametrize("number", CODES)
def test_a_second_signal_while_saving_leaves_a_checkpoint_that_verifies(tmp_path, number):
    tag, *more = CASES["lora"]
    arguments = harness.command(tag, *more)
    job = harness.fork(tmp_path, arguments)
    assert harness.hit(job, Moment("step", 3), number)
    assert harness.until(job, job.is_saving)
    job.send(number)
    assert job.wait() in (CODES[number], -number), job.said()
    assert checkpoint.newest_valid(job.run.checkpoints) is not None
    resumed(tmp_path, arguments)


@pytest.mark.slow
@pytest.mark.parametrize("number", CODES)
def test_a_signal_to_every_process_of_a_run_with_loader_workers_saves_too(tmp_path, number):
    tag, *more = CASES["workers"]
    arguments = harness.command(tag, *more)
    job = harness.fork(tmp_path, arguments)
    assert harness.hit(job, Moment("step", 2, 0.002), number, everyone=True)
    assert job.wait() == CODES[number], job.said()
    assert told_step(job) >= 2
    resumed(tmp_path, arguments)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_a_signal_at_a_random_moment_of_training_is_heeded_within_the_grace(tmp_path, seed):
    chance = random.Random(seed)
    tag, *more = CASES[chance.choice(list(CASES))]
    number = chance.choice(list(CODES))
    arguments = harness.command(tag, *more)
    job = harness.fork(tmp_path, arguments)
    moment = Moment(
        chance.choice(["step", "saving"]), chance.randint(1, 6), chance.uniform(0, 0.02)
    )
    assert harness.hit(job, moment, number)
    sent = time.monotonic()
    assert job.wait() == CODES[number], job.said()
    assert time.monotonic() - sent < GRACE
    told_step(job)
    resumed(tmp_path, arguments)


RARELY = (
    "strategy=lora",
    "train.logging_steps=3",
    "train.eval_strategy=no",
    "train.eval_steps=null",
)
"""Logged less often than saved, and saved only when asked to within the first epoch."""


@pytest.mark.parametrize(
    "then", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_asked_for_a_checkpoint_a_run_saves_goes_on_and_resumes_between_two_log_lines(
    tmp_path, then
):
    arguments = harness.command(BERT, *RARELY)
    calls = {4: harness.signalling(signal.SIGUSR1), 5: harness.signalling(then)}
    job = harness.fork(tmp_path, arguments, first=functools.partial(harness.within, BERT, calls))
    assert job.wait() in (143, -signal.SIGKILL), job.said()
    assert checkpoint.problem_with(job.run.checkpoints / "step-4") is None
    newest = "step-4" if then == signal.SIGKILL else "step-5"
    assert f"going on from {newest}" in resumed(tmp_path, arguments)


@pytest.mark.slow
def test_asked_for_checkpoints_all_the_time_a_run_ends_in_the_same_bits(tmp_path):
    arguments = harness.command(BERT, *RARELY)
    calls = dict.fromkeys(range(1, 9), harness.signalling(signal.SIGUSR1))
    first = functools.partial(harness.within, BERT, calls)
    harness.finish(lambda: harness.fork(tmp_path, arguments, first=first), trained=True)
    found = harness.differences(
        harness.uninterrupted(tuple(arguments)), harness.fingerprint(tmp_path), trained=True
    )
    assert not found, found


@pytest.mark.slow
@pytest.mark.parametrize("number", CODES)
def test_python_m_finetune_heeds_a_signal(tmp_path, number):
    tag, *more = CASES["lora"]
    arguments = harness.command(tag, *more)
    job = harness.start(tmp_path, arguments)
    assert harness.hit(job, Moment("step", 3, 0.005), number)
    assert job.wait() == CODES[number], job.said()
    told_step(job)
    resumed(tmp_path, arguments)
