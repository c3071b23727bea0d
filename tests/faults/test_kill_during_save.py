"""Kill -9 at each system call of a save: one checkpoint verifies, and the bits are right.

strace joins a process that waits for it within the last step before a save, so that its counts
begin there, and kills it on entering the n-th call of a kind.
"""

from __future__ import annotations

import contextlib
import functools
import os
import random
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from finetune.training import checkpoint
from tests.contracts.cases import RECIPES
from tests.faults import harness

_, _, GPT, *_ = RECIPES
# Without a thread of its own, so that the save lies between two steps in the trace; what a thread
# is killed in the middle of is in tests/training/test_publishing.py.
ARGUMENTS = tuple(
    harness.command(
        GPT, "strategy=lora", "task.primary_metric=perplexity", "train.async_save=false"
    )
)
CALLS = (
    "write", "pwrite64", "ftruncate", "fsync", "fdatasync", "mkdir", "rmdir",
    "rename", "renameat", "renameat2", "unlink", "unlinkat",
)  # fmt: skip
BEFORE, SAVED = 4, 6
"""The run is resumed from the first step; the save of the second is watched."""
END = "end-of-the-watched-save"
SAMPLE = 1
STRACE = shutil.which("strace")
pytestmark = pytest.mark.skipif(STRACE is None, reason="strace is not installed")


def wait_for_strace():
    """Called in the job: wait until it is traced, and until that has settled."""
    while "TracerPid:\t0\n" in Path("/proc/self/status").read_text():
        time.sleep(0.01)
    time.sleep(0.3)


def mark_the_end():
    """Called in the job: a system call that tells the trace that the save is over."""
    with contextlib.suppress(OSError):
        os.unlink(END)  # noqa: PTH108 -- a path that is not there


def stopped(folder):
    """Return a copy of a run that was stopped with two checkpoints, of which a save drops one."""
    return harness.copy_of(harness.stopped_in(BEFORE, GPT, ARGUMENTS), folder)


def saving(folder, *options):
    """Resume the run under strace until its save is over or it is killed; return job and trace."""
    steps = SAVED - BEFORE
    first = functools.partial(
        harness.within, GPT, {steps: wait_for_strace, steps + 1: mark_the_end}
    )
    job = harness.fork(folder, ARGUMENTS, first=first)
    trace = folder / "trace"
    assert harness.until(job, lambda: job.step() >= SAVED - 1), job.said()
    assert STRACE is not None
    traced = f"trace={','.join(CALLS)}"
    with (folder / "strace.log").open("wb") as said:
        tracer = subprocess.Popen(
            [STRACE, "-f", "-o", str(trace), "-e", traced, *options, "-p", str(job.pid)],
            stdout=said,
            stderr=said,
        )
    try:
        harness.until(job, lambda: tracer.poll() is not None or END in text_of(trace))
        said = text_of(folder / "strace.log")
        if "attached" not in said:
            pytest.skip(f"strace may not join a process here: {said}")
    finally:
        job.end()
        tracer.wait()
    return job, text_of(trace)


def text_of(file):
    """Return what a file holds, if it is there."""
    return file.read_text(errors="replace") if file.is_file() else ""


@functools.cache
def calls_of_a_save():
    """Return every system call between a step and the next: its name and its place."""
    folder = stopped(harness.kept_folder() / "counted")
    job, trace = saving(folder)
    found, counts = [], dict.fromkeys(CALLS, 0)
    for line in trace.splitlines():
        begun = re.match(rf"{job.pid} +(\w+)\(", line)
        if begun and END in line:
            break
        if begun and begun[1] in counts:
            counts[begun[1]] += 1
            found.append((begun[1], counts[begun[1]]))
    return tuple(found)


def test_the_watched_save_is_whole():
    found = calls_of_a_save()
    names = [name for name, _ in found]
    assert len(found) > 20
    assert "fsync" in names
    assert {"rename", "renameat", "renameat2"} & set(names)
    assert {"unlink", "unlinkat"} & set(names)


def killed_at(folder, name, place):
    """Kill a run on entering a system call of a save, and check what is left and what follows."""
    stopped(folder)
    _, trace = saving(folder, "-e", f"inject={name}:signal=KILL:when={place}")
    assert "killed by SIGKILL" in trace.partition(END)[0], f"{name} {place} was not reached"
    checkpoints = harness.run_in(folder).checkpoints
    left = [entry for entry in checkpoint.all_in(checkpoints) if not checkpoint.problem_with(entry)]
    assert left, f"{name} {place}: no checkpoint verifies"
    assert left[-1].name in (f"step-{BEFORE}", f"step-{SAVED}"), left
    ended = harness.finish(lambda: harness.fork(folder, ARGUMENTS), trained=True)
    assert f"going on from {left[-1].name}" in ended.said
    found = harness.differences(
        harness.uninterrupted(ARGUMENTS), harness.fingerprint(folder), trained=True
    )
    assert not found, f"{name} {place}: {found}"
    for entry in harness.staged(harness.run_in(folder)):
        raise AssertionError(f"{name} {place}: {entry[0]} was left behind")
    shutil.rmtree(folder)


def test_a_kill_at_a_drawn_system_call_of_a_save(tmp_path):
    for name, place in random.Random(3).sample(calls_of_a_save(), SAMPLE):
        killed_at(tmp_path / f"{name}-{place}", name, place)


@pytest.mark.slow
def test_a_kill_at_every_system_call_of_a_save(tmp_path):
    for name, place in calls_of_a_save():
        killed_at(tmp_path / f"{name}-{place}", name, place)
