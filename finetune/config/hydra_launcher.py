"""`hydra/launcher=` and its keys: where runs are started, by the names of Hydra's submitit plugin.

The names, meanings and, but for the two that say otherwise, the defaults are those of
hydra-submitit-launcher 1.2.0, so that a command or a cluster's page written for it can be used.
They are read from the command line alone: a recipe cannot submit jobs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from finetune.config import overrides as command_line
from finetune.config.bounds import bounded
from finetune.config.refusals import refuse_code, walk
from finetune.config.validate import build
from finetune.errors import ConfigError, did_you_mean

CHOICE = "hydra/launcher"
KEYS = "hydra.launcher."


@dataclass
class Queue:
    """What every submitit launcher takes."""

    cluster: ClassVar[str] = ""

    submitit_folder: str | None = None
    """Logs and batch files, `%j` being the job; `RUN.DIR/.submitit/%j` when null."""
    timeout_min: int = bounded(60, low=1)
    """Longest time of a job, minutes."""
    cpus_per_task: int | None = bounded(None, low=1)
    """Processor cores of each task."""
    gpus_per_node: int | None = bounded(None, low=0)
    """GPUs of each node."""
    tasks_per_node: int = bounded(1, low=1)
    """Processes on each node; with several in all, they train one run together."""
    mem_gb: int | None = bounded(None, low=1)
    """Memory of each node, GB."""
    nodes: int = bounded(1, low=1)
    """Nodes of the job."""
    name: str = "finetune"
    """Name of the job."""
    stderr_to_stdout: bool = False
    """Write one log instead of two."""


@dataclass
class LocalQueue(Queue):
    """Runs on this machine, in the background; to try out what Slurm will do."""

    cluster: ClassVar[str] = "local"


@dataclass
class SlurmQueue(Queue):
    """Runs submitted with sbatch."""

    cluster: ClassVar[str] = "slurm"

    partition: str | None = None
    """Partition to queue in."""
    qos: str | None = None
    """Quality of service."""
    comment: str | None = None
    """Comment shown by squeue."""
    constraint: str | None = None
    """Features that a node must have."""
    exclude: str | None = None
    """Nodes not to use."""
    gres: str | None = None
    """Generic resources, such as gpu:a100:2."""
    cpus_per_gpu: int | None = bounded(None, low=1)
    """Processor cores for each GPU."""
    gpus_per_task: int | None = bounded(None, low=1)
    """GPUs of each task."""
    mem_per_gpu: str | None = None
    """Memory for each GPU, such as 40G."""
    mem_per_cpu: str | None = None
    """Memory for each core, such as 4G."""
    account: str | None = None
    """Account to charge."""
    signal_delay_s: int = bounded(120, low=10)
    """Seconds before the end at which a run is told to save."""
    max_num_timeout: int = bounded(3, low=0)
    """How often a run that met `timeout_min` is queued again; the plugin's 0 becomes 3 because
    a run here resumes."""
    additional_parameters: dict[str, Any] = field(default_factory=dict)
    """Other options of sbatch, such as {mail-type: END}."""
    array_parallelism: int = bounded(256, low=1)
    """Jobs of a sweep that run at the same time."""
    setup: list[str] | None = None
    """Shell commands before the run, such as ['module load cuda']."""


LAUNCHERS: dict[str, type[Queue] | None] = {
    "basic": None,  # Hydra's name for one after the other in the foreground
    "submitit_local": LocalQueue,
    "submitit_slurm": SlurmQueue,
}


def take(arguments: Sequence[str]) -> tuple[Queue | None, list[str]]:
    """Return the launcher that is asked for, if any, and the arguments without it.

    Raises:
        ConfigError: A key is unknown or a value is wrong; all such problems at once.
        ArtefactError: A key names code.
    """
    own = [text for text in arguments if is_launchers(text)]
    rest = [text for text in arguments if text not in own]
    if not own:
        return None, rest
    problems: list[str] = []
    chosen = ""
    values: dict[str, Any] = {}
    for override in command_line.parse(own, problems):
        key = override.key_or_group
        if override.is_sweep_override():
            problems.append(
                f"`{override.input_line}` gives several values: one launcher starts all runs."
            )
        elif override.is_delete():
            problems.append(f"`{override.input_line}`: leave the key out instead.")
        elif key == CHOICE:
            chosen = str(override.value())
        else:
            refuse_code([key.removeprefix(KEYS)])
            value = override.value()
            refuse_code(dotted for dotted, _ in walk(value))
            values[key.removeprefix(KEYS)] = value
    if not chosen:
        problems.append(
            f"`{own[0]}` needs a launcher: give hydra/launcher=submitit_slurm or submitit_local."
        )
    elif chosen not in LAUNCHERS:
        hint = did_you_mean(chosen, LAUNCHERS) or f"; it is one of {', '.join(LAUNCHERS)}."
        problems.append(f"`hydra/launcher={chosen}` does not exist{hint}")
    schema = LAUNCHERS.get(chosen)
    queue = None
    if schema is not None:
        queue = build(schema, nested(values), "hydra.launcher", problems)
        problems += contradictions(queue)
    elif chosen == "basic" and values:
        problems.append("`hydra/launcher=basic` has no keys.")
    problems += [
        f"`{KEYS}{key}` must be plain text on one line, without `${{`."
        for key, text in walk(values)
        if isinstance(text, str) and (re.search(r"[\x00-\x1f\x7f]", text) or "${" in text)
    ]
    if problems:
        raise ConfigError(problems)
    return queue, rest


def is_launchers(argument: str) -> bool:
    """Tell whether an argument sets the launcher or one of its keys."""
    key = argument.lstrip("+~").split("=", 1)[0]
    return key == CHOICE or key.startswith(KEYS)


def nested(values: dict[str, Any]) -> dict[str, Any]:
    """Return dotted keys, such as `additional_parameters.mail-type`, as mappings."""
    result: dict[str, Any] = {}
    for dotted, value in values.items():
        key, _, inside = dotted.partition(".")
        if inside:
            held = result.setdefault(key, {})
            if isinstance(held, dict):
                held[inside] = value
        else:
            result[key] = value
    return result


def contradictions(queue: Queue) -> list[str]:
    """Return a sentence for each pair of values that cannot both be meant."""
    found = []
    gpus, tasks = queue.gpus_per_node or 0, queue.tasks_per_node
    if gpus > 1 and gpus != tasks:
        found.append(
            f"`hydra.launcher.gpus_per_node={gpus}` needs `hydra.launcher.tasks_per_node={gpus}`, "
            f"got {tasks}: each process trains on one GPU."
        )
    if isinstance(queue, LocalQueue) and queue.nodes > 1:
        found.append(
            f"`hydra.launcher.nodes={queue.nodes}` needs hydra/launcher=submitit_slurm: "
            "this machine is one node."
        )
    if isinstance(queue, SlurmQueue) and queue.signal_delay_s >= 60 * queue.timeout_min:
        found.append(
            f"`hydra.launcher.signal_delay_s={queue.signal_delay_s}` must be shorter than "
            f"`hydra.launcher.timeout_min={queue.timeout_min}`."
        )
    return found
