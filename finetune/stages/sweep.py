"""`-m`: every combination of the swept values as a run of its own; all are tried."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from finetune.config import hydra_launcher
from finetune.config.sweep import combinations
from finetune.errors import FinetuneError


def run_many(arguments: Sequence[str], *, check: Callable[[Sequence[str]], Any]) -> None:
    """Run one job per combination of swept values, in a process or a job of a queue of its own.

    Args:
        arguments: Overrides as on the command line, the launcher's and options among them.
        check: Composes the configuration of one job, so that every mistake comes before the
            first run.

    Raises:
        FinetuneError: Runs failed; the exit code is that of the first.
    """
    queue, rest = hydra_launcher.take(arguments)
    options = [text for text in rest if text.startswith("--")]
    jobs = [
        [*job, *options] for job in combinations([text for text in rest if text not in options])
    ]
    folders = [check(job).run.dir for job in jobs]
    if queue is None:
        codes = [run_one(number, len(jobs), job) for number, job in enumerate(jobs, 1)]
    else:
        from finetune.stages.submission import submit

        codes = submit(queue, Path(folders[0]), jobs)
    failed = [(code, job) for code, job in zip(codes, jobs, strict=True) if code]
    if failed:
        error = FinetuneError(
            [
                f"{len(failed)} of {len(jobs)} runs failed:",
                *(f"exit {code}: {' '.join(job)}" for code, job in failed),
            ]
        )
        error.exit_code = failed[0][0]
        raise error


def run_one(number: int, count: int, job: Sequence[str]) -> int:
    """Run one job to its end, here, and return its exit code."""
    sys.stderr.write(f"\n[{number}/{count}] {' '.join(job)}\n")
    sys.stderr.flush()
    code = subprocess.run([sys.executable, "-m", "finetune", *job], check=False).returncode
    if code in (130, -signal.SIGINT):
        raise KeyboardInterrupt
    return code
