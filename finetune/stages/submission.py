"""Runs in a queue: submitted through submitit, saved when their time is up, queued again, resumed.

submitit sends SIGUSR2 shortly before a job's time is up and when it is preempted. The run in it
gets SIGTERM then, ends after a checkpoint with exit code 143, and the same command is queued again.
"""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from finetune.config.hydra_launcher import Queue, SlurmQueue
from finetune.errors import ConfigError

SAVED = 128 + signal.SIGTERM
POLL_SECONDS = 0.2
LOCAL_SIGNAL_DELAY = 30
"""What submitit's local executor gives a job to save, seconds."""
AWAIT_REQUEUE = 300
"""How long a run that was told to stop waits for the queue to say why, seconds."""
LOST = 9
"""Exit code for a job that ended without a word."""


class JobError(Exception):
    """A run in a job ended with an exit code other than 0."""


class Job:
    """One command, run in a process of its own inside a submitit task.

    Args:
        arguments: What follows `python -m finetune`.
        seconds_to_save: How long the command may take to end after SIGTERM.
    """

    def __init__(self, arguments: Sequence[str], *, seconds_to_save: float) -> None:
        self.arguments = list(arguments)
        self.seconds_to_save = seconds_to_save
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """Return the command of the run."""
        return [sys.executable, "-m", "finetune", *self.arguments]

    def __call__(self) -> int:
        """Run the command to its end.

        Raises:
            JobError: It failed; the queue then shows the job as failed.
        """
        from submitit.core.utils import UncompletedJobError

        leads = prepare_environment()
        # A queue signals every process of a task; only the parent of the run shall act on it.
        self.process = subprocess.Popen(self.command(), preexec_fn=ignore_queue_signal)
        try:
            code = self.wait(math.inf)
            if code in (SAVED, -signal.SIGTERM) and leads:
                time.sleep(AWAIT_REQUEUE)  # the handler of SIGUSR2 ends this
        except UncompletedJobError as error:  # not queued again: finished, or too often
            code = self.wait(0)
            if code:
                raise JobError(f"exit code {code}: {error}") from error
        except KeyboardInterrupt:
            os.kill(self.process.pid, signal.SIGTERM)
            raise
        if code:
            raise JobError(f"exit code {code}")
        return 0

    def wait(self, seconds: float) -> int | None:
        """Return the exit code of the run, or None when it has none in time.

        The run is left for the system to reap: a signal may arrive while this waits, and its
        handler waits too, for which Popen's own `poll` and its lock are not made.
        """
        assert self.process is not None
        until = time.monotonic() + seconds
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        while (ended := os.waitid(os.P_PID, self.process.pid, options)) is None:
            if time.monotonic() >= until:
                return None
            time.sleep(POLL_SECONDS)
        return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status

    def checkpoint(self) -> Any:
        """Let the run save, and return what is to be queued again; None when it has finished.

        submitit calls this, in the handler of its signal.
        """
        from submitit.helpers import DelayedSubmission

        if self.process is not None:
            os.kill(self.process.pid, signal.SIGTERM)
            code = self.wait(self.seconds_to_save)
            if code is None:
                os.kill(self.process.pid, signal.SIGKILL)  # what was saved before counts
                self.wait(math.inf)
            if code == 0:
                return None
        return DelayedSubmission(type(self)(self.arguments, seconds_to_save=self.seconds_to_save))


def prepare_environment() -> bool:
    """Tell torch about the other tasks of the job; return whether this task leads them."""
    from submitit import JobEnvironment
    from submitit.helpers import TorchDistributedEnvironment

    job = JobEnvironment()
    if job.num_tasks > 1:
        TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
    return bool(job.global_rank == 0)


def ignore_queue_signal() -> None:
    """Let the signal of the queue pass by in the run and whatever it starts."""
    name = os.environ.get("SUBMITIT_PREEMPT_SIGNAL", "USR2")
    signal.signal(getattr(signal, f"SIG{name}"), signal.SIG_IGN)


def executor(queue: Queue, folder: Path) -> Any:
    """Return submitit's executor for a queue.

    Raises:
        ConfigError: submitit or Slurm is not there, or refuses a setting.
    """
    try:
        import submitit
    except ImportError as error:
        raise ConfigError(
            "`hydra/launcher` needs the package `submitit`, which is not installed.",
            fix='Install it with `pip install "finetune[slurm]"`.',
        ) from error
    values = {key: value for key, value in asdict(queue).items() if value is not None}
    where = values.pop("submitit_folder", None) or folder / ".submitit" / "%j"
    if isinstance(queue, SlurmQueue):  # a cluster's own default may be not to queue again
        values["additional_parameters"] = {"requeue": True, **queue.additional_parameters}
    first = {}
    if "max_num_timeout" in values:
        first[f"{queue.cluster}_max_num_timeout"] = values.pop("max_num_timeout")
    shared = set(Queue.__dataclass_fields__)
    try:
        made = submitit.AutoExecutor(folder=where, cluster=queue.cluster, **first)
        made.update_parameters(
            **{key if key in shared else f"{queue.cluster}_{key}": values[key] for key in values}
        )
    except (RuntimeError, NameError, ValueError) as error:
        raise ConfigError(
            f"submitit refuses the queue `{queue.cluster}`: {' '.join(str(error).split())[:300]}",
            fix="Give the command on a machine with Slurm, or hydra/launcher=submitit_local.",
        ) from error
    return made


def submit(queue: Queue, folder: Path, jobs: Sequence[Sequence[str]]) -> list[int]:
    """Submit runs, wait for all of them, and return their exit codes.

    Raises:
        ConfigError: They cannot be submitted.
    """
    made = executor(queue, folder)
    slurm = isinstance(queue, SlurmQueue)
    delay = queue.signal_delay_s if isinstance(queue, SlurmQueue) else LOCAL_SIGNAL_DELAY
    seconds = max(delay - 10, 5)
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    try:
        with made.batch():
            submitted = [made.submit(Job(job, seconds_to_save=seconds)) for job in jobs]
    except (FailedJobError, FailedSubmissionError, OSError) as error:
        raise ConfigError(
            f"The runs could not be submitted: {' '.join(str(error).split())[:300]}",
            fix="Check the keys of hydra.launcher with your cluster's page on sbatch.",
        ) from error
    for number, (entry, job) in enumerate(zip(submitted, jobs, strict=True), 1):
        say(f"[{number}/{len(jobs)}] job {entry.job_id}: {' '.join(job)}")
        say(f"      log {entry.paths.stdout if queue.stderr_to_stdout else entry.paths.stderr}")
    try:
        return [exit_code(entry) for entry in submitted]
    except KeyboardInterrupt:
        if slurm:
            ids = " ".join(sorted({entry.job_id.split("_")[0] for entry in submitted}))
            say(f"The jobs go on without this command; `scancel {ids}` ends them.")
        else:
            for entry in submitted:
                entry.cancel(check=False)
        raise


def exit_code(job: Any) -> int:
    """Wait for a job and return the exit code of its run, the first that failed of its tasks."""
    problem = job.exception()
    if problem is None:
        return 0
    said = re.search(r"JobError: exit code (-?\d+)", str(problem))
    return int(said.group(1)) if said else LOST


def say(text: str) -> None:
    """Tell the user, on the stream that is not the result."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
