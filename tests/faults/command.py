"""The real command line in processes of its own, for faults that must not meet the tests."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
QUICK = (
    "recipe=bert/text_classification",
    "model=tiny/bert",
    "name=case",
    "data.max_rows=60",
    "train.global_batch_size=8",
    "train.eval_max_rows=4",
    "evaluate.max_rows=8",
    "evaluate.resamples=20",
    "export.parity_rows=8",
    "tracking.report_to=[]",
)
"""A run of the minute encoder, as short as it can be; `train.max_steps` is left to the test."""
SAVING = ("train.eval_strategy=steps", "train.eval_steps=2", "train.logging_steps=1")
"""A checkpoint every second step."""
PATIENCE = 300.0


class Ended(NamedTuple):
    """How a process ended."""

    code: int
    err: str
    seconds: float


def start(
    *arguments: str,
    folder: Path,
    prefix: Sequence[str] = (),
    python: Sequence[str] = ("-m", "finetune"),
    **environment: str,
) -> subprocess.Popen[str]:
    """Start the command line in a folder; `prefix` is put before the interpreter."""
    known = {
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return subprocess.Popen(
        [*prefix, sys.executable, *python, *arguments],
        cwd=folder,
        env=os.environ | known | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def call(*arguments: str, folder: Path, **options: Any) -> Ended:
    """Run the command line to its end."""
    begun = time.monotonic()
    with start(*arguments, folder=folder, **options) as process:
        _, err = process.communicate(timeout=PATIENCE)
    return Ended(process.returncode, err, time.monotonic() - begun)


def wait_for(condition: Callable[[], Any], process: subprocess.Popen[str]) -> None:
    """Wait until something holds, as long as the process lives."""
    begun = time.monotonic()
    while not condition():
        if process.poll() is not None or time.monotonic() - begun > PATIENCE:
            process.kill()
            raise AssertionError(f"it ended with {process.poll()}: {process.communicate()[1]}")
        time.sleep(0.01)


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a process as the system does when memory runs out, and wait until it is gone."""
    process.kill()
    process.communicate()


def leftovers(folder: Path) -> list[str]:
    """Return what no ended process may leave in a run folder: files that were in the making."""
    return [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if path.name.endswith(".tmp") or path.name == ".saving"
    ]
