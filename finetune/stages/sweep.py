"""`-m`: every combination of the swept values as a run of its own; all are tried."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

from finetune.config.sweep import combinations
from finetune.errors import FinetuneError


def run_many(arguments: Sequence[str], *, check: Callable[[Sequence[str]], Any]) -> None:
    """Run one job per combination of swept values, each in a process of its own.

    Args:
        arguments: Overrides as on the command line.
        check: Composes the configuration of one job, so that every mistake comes before the
            first run.

    Raises:
        FinetuneError: Runs failed; the exit code is that of the first.
    """
    jobs = combinations(arguments)
    for job in jobs:
        check(job)
    failed = []
    for number, job in enumerate(jobs, 1):
        sys.stderr.write(f"\n[{number}/{len(jobs)}] {' '.join(job)}\n")
        code = subprocess.run([sys.executable, "-m", "finetune", *job], check=False).returncode
        if code in (130, -signal.SIGINT):
            raise KeyboardInterrupt
        if code:
            failed.append((code, job))
    if failed:
        error = FinetuneError(
            [
                f"{len(failed)} of {len(jobs)} runs failed:",
                *(f"exit {code}: {' '.join(job)}" for code, job in failed),
            ]
        )
        error.exit_code = failed[0][0]
        raise error
