"""Start the command line, end it at a chosen moment, give the same command again, and compare.

Jobs are real processes that get real signals. `start` runs `python -m finetune`, or `accelerate
launch` where there are several ranks. `fork` runs the same command line (`finetune.cli.call`) in a
process forked from one that has already imported the libraries: a kill -9 ends it like any other,
only the seconds of importing are saved, which is what makes hundreds of kills affordable.

Every job works in a folder of its own and names it relatively, so that interrupted and
uninterrupted runs have literally the same command. What is compared is in `fingerprint`; nothing
here knows which files a checkpoint consists of, beyond that its manifest lists them.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from finetune.runs import storage
from finetune.runs.folder import RunFolder
from finetune.training import checkpoint
from tests.contracts.cases import RECIPES

ROOT = Path(__file__).resolve().parents[2]
TIMES = frozenset({"units_per_second", "memory", "seconds"})
"""Keys that measure the machine: left out of the comparison wherever they stand in a JSON file."""
PATIENCE = 240.0
"""Seconds that a job may take before the harness gives up; only a hang comes near."""
LOCKED = 7
SETTINGS = (
    "data.max_rows=60",
    "model.dropout=0.1",
    "train.global_batch_size=8",
    "train.gradient_checkpointing=false",  # its plan looks at a row, and tests count losses
    "train.eval_max_rows=4",
    "train.eval_strategy=steps",
    "train.eval_steps=2",
    "evaluate.max_rows=4",
    "evaluate.resamples=10",
    "evaluate.base_model=false",
    "evaluate.baselines=false",
    "export.parity_rows=4",
    "tracking.report_to=[]",
)
"""A run of seconds with randomness in every step, and a checkpoint every second step."""
WARM = (
    "torch", "transformers", "transformers.trainer", "peft", "accelerate", "bitsandbytes",
    "datasets", "sklearn.linear_model", "matplotlib.pyplot", "jinja2",
    "transformers.models.bert.modeling_bert", "transformers.models.t5.modeling_t5",
    "transformers.models.llama.modeling_llama", "transformers.models.gpt2.modeling_gpt2",
    "transformers.models.clip.modeling_clip", "transformers.models.whisper.modeling_whisper",
    "finetune.training.trainer", "finetune.stages.job", "finetune.stages.train",
    "finetune.stages.prepare", "finetune.stages.export", "finetune.stages.evaluate",
    "finetune.stages.report",
)  # fmt: skip
"""What the parent of forked jobs imports: all that a run needs, and nothing that has run."""


def command(tag: str, *more: str, steps: int = 8) -> list[str]:
    """Return the command of a small run of a task, in the folder where it is started."""
    recipe, model = RECIPES[tag]
    base = [f"recipe={recipe}", f"model={model}", "run.dir=runs", "name=case"]
    return [*base, *SETTINGS, f"train.max_steps={steps}", *more]


def run_in(folder: Path) -> RunFolder:
    """Return the run of a job that works in a folder."""
    return RunFolder(folder / "runs" / "case")


# -- jobs ----------------------------------------------------------------------------


class Job:
    """A running command line, the head of its own session."""

    def __init__(self, folder: Path, process: Any, log: Path) -> None:
        self.folder, self.process, self.log = folder, process, log
        self.run = run_in(folder)
        self.pid: int = process.pid
        self.log_before = identity(self.run.metrics_log)
        self.staged_before = staged(self.run)

    def poll(self) -> int | None:
        """Return the exit code once there is one; minus the signal that ended it."""
        if isinstance(self.process, subprocess.Popen):
            return self.process.poll()
        code: int | None = self.process.exitcode
        return code

    def wait(self, seconds: float = PATIENCE) -> int:
        """Return the exit code."""
        for _ in polling(seconds, 0.03):
            code = self.poll()
            if code is not None:
                return code
        self.end()
        raise AssertionError(f"still running after {seconds:.0f} s:\n{self.said()}")

    def send(self, number: int, *, everyone: bool = False) -> None:
        """Send a signal to the process, or to all that it started in its session as well."""
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if everyone else os.kill)(self.pid, number)

    def end(self) -> None:
        """Kill the whole session and collect it."""
        self.send(signal.SIGKILL, everyone=True)
        if isinstance(self.process, subprocess.Popen):
            self.process.wait()
        else:
            self.process.join()

    def said(self) -> str:
        """Return what it wrote to the terminal."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def step(self) -> int:
        """Return the last step that this attempt has logged, 0 before it logs."""
        if identity(self.run.metrics_log) == self.log_before:
            return 0
        with contextlib.suppress(OSError):
            lines = storage.read_jsonl(self.run.metrics_log)
            return max((line["step"] for line in lines if "loss" in line), default=0)
        return 0

    def is_saving(self) -> bool:
        """Tell whether a checkpoint is being written that wasn't when the attempt began."""
        return bool(staged(self.run) - self.staged_before)

    def has_done(self, stage: str) -> bool:
        """Tell whether a stage of the run is over."""
        with contextlib.suppress(OSError, ValueError):
            return self.run.is_done(stage)
        return False

    def met_a_lock(self, code: int) -> bool:
        """Tell whether a process of an earlier attempt still held the run; a launcher exits 1."""
        return code == LOCKED or (code == 1 and "is in use by" in self.said())

    def came_too_late(self, code: int) -> bool:
        """Tell whether the run was finished before, by an attempt killed after its last write."""
        return code != 0 and "is a finished run" in self.said() and self.run.is_finished()

    def ranks(self, number: str) -> list[int]:
        """Return the processes of this session that have a rank."""
        return [pid for pid in members(self.pid) if f"RANK={number}".encode() in variables_of(pid)]


def members(session: int) -> list[int]:
    """Return the processes of a session that still run."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit():
                state, _, _, of = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
                if int(of) == session and state != "Z":
                    found.append(int(entry.name))
    return found


def variables_of(pid: int) -> list[bytes]:
    """Return the environment that a process was started with."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return []


def polling(seconds: float, pause: float) -> Iterator[None]:
    """Yield until the time is up."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield
        time.sleep(pause)


def identity(file: Path) -> tuple[int, int] | None:
    """Return what tells a file from one that was written over or appended to."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size


def staged(run: RunFolder) -> frozenset[tuple[str, int]]:
    """Return the folders among the checkpoints under a name that no complete one has."""
    found = set()
    with contextlib.suppress(OSError):
        for entry in os.scandir(run.checkpoints):
            with contextlib.suppress(OSError):
                if entry.is_dir() and not entry.name.startswith((".bad", "step-")):
                    found.add((entry.name, entry.stat(follow_symlinks=False).st_ino))
    return frozenset(found)


def environment() -> dict[str, str]:
    """Return the environment of a job: one thread, no network, the project's own code."""
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
    }


def heed_signals() -> None:
    """Take signals as in a terminal: what runs in the background is started with SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)


def start(
    folder: Path,
    arguments: Sequence[str],
    *,
    ranks: int = 1,
    around: Sequence[str] = (),
) -> Job:
    """Start `python -m finetune`, with `accelerate launch` or another program around it."""
    folder.mkdir(parents=True, exist_ok=True)
    launch: list[str] = []
    if ranks > 1:
        launch = [
            "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", str(ranks),
            "--mixed_precision", "no", "--dynamo_backend", "no", "--num_machines", "1",
            "--main_process_port", str(free_port()),
        ]  # fmt: skip
    log = next_log(folder)
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*around, sys.executable, *launch, "-m", "finetune", *arguments],
            cwd=folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=heed_signals,
        )
    return Job(folder, process, log)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def next_log(folder: Path) -> Path:
    """Return a new file for what the next attempt says."""
    return folder / f"attempt-{len(list(folder.glob('attempt-*.log'))) + 1:03}.log"


@functools.cache
def warm() -> Any:
    """Return what forks processes off a parent that has imported the libraries."""
    from multiprocessing import forkserver

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(WARM))
    before = dict(os.environ)
    os.environ.update(environment())  # read while importing
    os.environ["PYTHONWARNINGS"] = "ignore:resource_tracker"  # of semaphores that the killed held
    try:
        forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(before)
    return context


def fork(
    folder: Path, arguments: Sequence[str], *, first: Callable[[], object] | None = None
) -> Job:
    """Start the command line in a forked process, which may call something of the test's first."""
    folder.mkdir(parents=True, exist_ok=True)
    log = next_log(folder)
    log.touch()
    process = warm().Process(
        target=_forked, args=(list(arguments), str(folder), str(log), environment(), first)
    )
    process.start()
    return Job(folder, process, log)


def _forked(
    arguments: list[str],
    folder: str,
    log: str,
    variables: dict[str, str],
    first: Callable[[], object] | None,
) -> None:
    os.setsid()
    heed_signals()
    multiprocessing.set_start_method(None, force=True)  # what loader workers are started by
    os.environ.update(variables)
    os.chdir(folder)
    written = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(written, 1)
    os.dup2(written, 2)
    sys.argv = ["finetune", *arguments]
    if first is not None:
        first()
    from finetune import cli

    try:
        code = cli.call(arguments)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


# -- moments -------------------------------------------------------------------------


class Moment(NamedTuple):
    """When a job is hit."""

    kind: str
    """`step`: after a step was logged; `saving`: while a checkpoint is written; `time`: any."""
    step: int = 0
    """For `step` and `saving`: not before this one."""
    delay: float = 0.0
    """Seconds to wait then."""

    def reached(self, job: Job) -> bool:
        """Wait for the moment; tell whether it came before the job ended."""
        conditions: list[Callable[[], bool]] = []
        if self.kind != "time":
            conditions.append(lambda: job.step() >= self.step)
        if self.kind == "saving":
            conditions.append(job.is_saving)
        for condition in conditions:
            if not until(job, condition):
                return False
        deadline = time.monotonic() + self.delay
        return until(job, lambda: time.monotonic() >= deadline)


def until(
    job: Job, condition: Callable[[], bool], seconds: float = PATIENCE, pause: float = 0.001
) -> bool:
    """Wait for a condition; tell whether it came true before the job ended."""
    for _ in polling(seconds, pause):
        if condition():
            return True
        if job.poll() is not None:
            return condition()
    job.end()
    raise AssertionError(f"nothing happened for {seconds:.0f} s:\n{job.said()}")


def draw(chance: random.Random, *, steps: int, seconds: float) -> Moment:
    """Draw a moment: within any step, while saving, or anywhere in the job."""
    kind = chance.choices(["step", "saving", "time"], [5, 4, 2])[0]
    if kind == "time":
        return Moment("time", 0, chance.uniform(0.0, seconds))
    return Moment(kind, chance.randrange(steps), chance.uniform(0.0, 0.03))


def within(tag: str, calls: dict[int, Callable[[], object]]) -> None:
    """In a forked job: call something within the n-th loss of a training batch, counted from 1.

    With micro-batches, `n = micro-batches × (step − 1) + micro-batch`, counted anew by an attempt.
    """
    from finetune import tasks

    task, seen = tasks.find(tag), [0]
    name = "coupled_loss" if hasattr(task, "coupled_loss") else "loss"
    inner = getattr(task, name)

    def counted(self: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        if model.training:
            seen[0] += 1
            calls.get(seen[0], lambda: None)()
        return inner(self, model, *args, **kwargs)

    setattr(task, name, counted)


def signalling(*numbers: int) -> Callable[[], object]:
    """Return what sends the own process signals."""
    return functools.partial(_signal_itself, numbers)


def _signal_itself(numbers: tuple[int, ...]) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)


# -- to the end, and the comparison --------------------------------------------------


class Ended(NamedTuple):
    """How a job came to its end."""

    attempts: int
    """Commands given, the last of which succeeded."""
    locked: int
    """Of these, how many met a lock that a process of the killed attempt still held."""
    said: str
    """What the last one wrote to the terminal."""


def finish(again: Callable[[], Job], *, trained: bool = False, tries: int = 30) -> Ended:
    """Give the same command until it succeeds; with `trained`, until training is over.

    A command that ends otherwise than by success or a lock is a failure of the test.
    """
    locked = 0
    for attempt in range(1, tries + 1):
        job = again()
        if trained and until(job, functools.partial(job.has_done, "train"), pause=0.03):
            job.end()  # the rest of the run is for another test
            return Ended(attempt, locked, job.said())
        code = job.wait()
        if code == 0 or job.came_too_late(code):
            return Ended(attempt, locked, job.said())
        assert job.met_a_lock(code), f"exit {code}:\n{job.said()}"
        locked += 1
        time.sleep(0.5)
    raise AssertionError(f"locked {locked} times")


def hit(job: Job, moment: Moment, number: int, *, everyone: bool = False) -> bool:
    """Send a signal at a moment, unless the job has ended before; tell whether it was sent."""
    if not moment.reached(job) or job.poll() is not None:
        return False
    job.send(number, everyone=everyone)
    return True


def untimed(value: Any) -> Any:
    """Return JSON without what measures the machine."""
    if isinstance(value, dict):
        return {key: untimed(item) for key, item in value.items() if key not in TIMES}
    if isinstance(value, list):
        return [untimed(item) for item in value]
    return value


def digest_of(file: Path) -> str:
    """Return the hash of a file's bytes; of JSON, without what measures the machine."""
    if file.suffix == ".json":
        text = json.dumps(untimed(storage.read_json(file)), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()
    return storage.sha256(file)


def fingerprint(folder: Path) -> dict[str, str]:
    """Return what has to be equal: newest checkpoint, metrics log, merged model, predictions.

    Every file that the checkpoint's manifest lists counts, and each has to be as listed. Two things
    count only when the whole run is finished: the merged model and the predictions.
    """
    run = run_in(folder)
    newest = checkpoint.all_in(run.checkpoints)[-1]
    assert checkpoint.problem_with(newest) is None, checkpoint.problem_with(newest)
    found = {"checkpoint": newest.name}
    for name in storage.read_json(newest / checkpoint.MANIFEST)["files"]:
        found[f"checkpoint/{name}"] = digest_of(newest / name)
    for number, line in enumerate(storage.read_jsonl(run.metrics_log)):
        found[f"log/{number:03}"] = json.dumps(untimed(line), sort_keys=True)
    if run.is_finished():
        for file in (run.merged / "model.safetensors", run.evaluation / "predictions.jsonl"):
            found[file.relative_to(run.path).as_posix()] = digest_of(file)
    return found


def differences(one: dict[str, str], other: dict[str, str], *, trained: bool = False) -> list[str]:
    """Return what differs; with `trained`, of training alone."""
    names = sorted(one.keys() | other.keys())
    return [
        f"{name}: {one.get(name)} ≠ {other.get(name)}"
        for name in names
        if one.get(name) != other.get(name)
        if not (trained and name.startswith(("merged/", "eval/")))
    ]


# -- kept for all tests of a process -------------------------------------------------

_kept: list[tempfile.TemporaryDirectory[str]] = []


def kept_folder() -> Path:
    """Return a new folder that lives as long as this process."""
    _kept.append(tempfile.TemporaryDirectory(prefix="finetune-faults-"))
    return Path(_kept[-1].name)


@functools.cache
def uninterrupted(arguments: tuple[str, ...], *, trained: bool = True) -> dict[str, str]:
    """Return the fingerprint of a run that nothing befell."""
    folder = kept_folder() / "whole"
    finish(lambda: fork(folder, arguments), trained=trained)
    return fingerprint(folder)


@functools.cache
def stopped_in(step: int, tag: str, arguments: tuple[str, ...]) -> Path:
    """Return the folder of a run that was asked to end in a step; tests copy it.

    Micro-batches are whole batches here, so that steps and calls of the loss are the same.
    """
    folder = kept_folder() / "stopped"
    first = functools.partial(within, tag, {step: signalling(signal.SIGTERM)})
    job = fork(folder, arguments, first=first)
    assert job.wait() == 143, job.said()
    return folder


def copy_of(folder: Path, target: Path) -> Path:
    """Return a copy of a job's folder without what its attempts have said."""
    return Path(shutil.copytree(folder, target, ignore=shutil.ignore_patterns("attempt-*")))
