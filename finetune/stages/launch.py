"""Start a job on several processes by accelerate, and end with one sentence and our exit codes."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from finetune.errors import ConfigError, FinetuneError
from finetune.runs import roll as rolls
from finetune.runs import storage
from finetune.runs.folder import RunFolder
from finetune.stages import ends
from finetune.training import sharding

FLAGS = ("--debug", "--trust-remote-code")
"""Our own options, wherever they stand."""


def divided(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the launcher's own options and the job's settings, which begin with `key=value`.

    Raises:
        ConfigError: There are no settings, or a verb that isn't for several processes.
    """
    start = next(
        (
            number
            for number, word in enumerate(arguments)
            if "=" in word and not word.startswith("-")
        ),
        None,
    )
    if start is None:
        raise ConfigError(
            "`launch` needs a recipe or a run.",
            fix="Give `python -m finetune launch --num_processes 2 recipe=NAME key=value …`.",
        )
    options, settings = list(arguments[:start]), list(arguments[start:])
    flags = [word for word in options if word in FLAGS]
    options, settings = [word for word in options if word not in FLAGS], [*settings, *flags]
    if options[-2:] in (["-m", "finetune"], ["--module", "finetune"]):
        options = options[:-2]
    if options and options[-1] in ("run", "prepare", "evaluate", "predict", "report", "show"):
        if options[-1] != "run":
            raise ConfigError(
                f"`{options[-1]}` runs in one process.",
                fix=f"Give `python -m finetune {options[-1]} …` without `launch`.",
            )
        options.pop()
    return options, settings


def parsed(options: Sequence[str], settings: Sequence[str]) -> Any:
    """Return accelerate's own arguments for a job of ours.

    Raises:
        ConfigError: An option is unknown, or there is nothing to run on.
    """
    from accelerate.commands.launch import launch_command_parser

    parser = launch_command_parser()

    def refuse(message: str) -> None:
        raise ConfigError(
            f"`launch`: {message}",
            fix="Its options are those of `accelerate launch`, before the first key=value.",
        )

    parser.error = refuse
    arguments = parser.parse_args([*options, "finetune", *settings])
    if arguments.training_script != "finetune":
        raise ConfigError(
            f"`launch` doesn't take `{arguments.training_script}`.",
            fix="Give options of `accelerate launch`, then recipe=NAME and other key=value.",
        )
    arguments.module, arguments.no_python = True, False
    return arguments


def settle(arguments: Any) -> None:
    """Set how many processes run where, from options, accelerate's file and the devices there are.

    Ports are free ones, so that jobs don't meet. Ranks on CPUs exchange by gloo, as under
    `--multi_gpu`: accelerate's own way needs MPI.

    Raises:
        ConfigError: A number is wrong, or the file is missing or isn't accelerate's.
    """
    file = read(arguments.config_file)
    if arguments.mixed_precision not in (None, "no"):
        raise ConfigError(
            f"`--mixed_precision {arguments.mixed_precision}` is not for a launch.",
            fix=f"Give train.precision={arguments.mixed_precision}, which evaluation heeds too.",
        )
    for name in ("num_processes", "num_machines", "main_process_port"):
        if getattr(arguments, name) is None and file.get(name) is not None:
            setattr(arguments, name, int(file[name]))
    if arguments.num_processes in (None, -1):
        import torch

        arguments.num_processes = max(torch.cuda.device_count(), 1)
    arguments.num_machines = arguments.num_machines or 1
    if arguments.num_processes < arguments.num_machines:
        raise ConfigError(
            f"`--num_processes` is {arguments.num_processes}, "
            f"on {arguments.num_machines} machines.",
            fix="It counts the processes of all machines together.",
        )
    if arguments.cpu or file.get("use_cpu"):
        arguments.cpu = False
        job = arguments.training_script_args
        if not any(word.startswith("train.device=") for word in job):
            arguments.training_script_args = [*job, "train.device=cpu"]
    if not is_sharded(arguments, file):
        arguments.multi_gpu = True
    arguments.mixed_precision = "no"  # train.precision decides
    arguments.dynamo_backend = arguments.dynamo_backend or "no"
    if arguments.num_machines == 1 and not arguments.main_process_port:
        arguments.main_process_port, arguments.standalone = 0, True
    if arguments.num_cpu_threads_per_process is None:
        arguments.num_cpu_threads_per_process = threads(
            arguments.num_processes // arguments.num_machines
        )
    os.environ.setdefault("OMP_NUM_THREADS", str(arguments.num_cpu_threads_per_process))


def read(file: str | None) -> dict[str, Any]:
    """Return what accelerate's file says: the one that is named, or the user's own.

    Raises:
        ConfigError: It can't be read.
    """
    import yaml
    from accelerate.commands.config.config_args import default_config_file

    if file is None and not Path(default_config_file).is_file():
        return {}
    try:
        content = yaml.safe_load(Path(file or default_config_file).read_text(encoding="utf-8"))
        return dict(content)
    except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
        raise ConfigError(
            f"`--config_file {file or default_config_file}` can't be read: "
            f"{getattr(error, 'strerror', None) or 'it is no mapping in YAML'}.",
            fix="Give a file of `accelerate config`, or one of conf/accelerate/.",
        ) from error


def is_sharded(arguments: Any, file: Mapping[str, Any]) -> bool:
    """Tell whether another way than whole copies of the model is asked for."""
    if arguments.use_fsdp or arguments.use_deepspeed or arguments.use_megatron_lm or arguments.tpu:
        return True
    return str(file.get("distributed_type", "NO")).upper() not in ("NO", "MULTI_GPU", "MULTI_CPU")


def uses_deepspeed(arguments: Any, file: Mapping[str, Any]) -> bool:
    """Tell whether the model is to be shared out by DeepSpeed."""
    named = str(file.get("distributed_type", "")).upper() == "DEEPSPEED"
    return bool(arguments.use_deepspeed or arguments.deepspeed_config_file or named)


def threads(ranks: int) -> int:
    """Return how many threads each rank computes with, so that ranks don't fight for cores."""
    said = os.environ.get("OMP_NUM_THREADS", "")
    if said.isdigit():
        return int(said)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max((cores or 1) // max(ranks, 1), 1)


def launch(
    options: Sequence[str], settings: Sequence[str], run: RunFolder, *, timeout: float
) -> list[str] | None:
    """Run the job on its processes and wait for them.

    Args:
        options: accelerate's.
        settings: The job's.
        run: Where the job writes.
        timeout: Seconds that ranks may take to save when they are told to stop.

    Returns:
        Nothing, or the settings of a job of one process, which needs no launcher.

    Raises:
        FinetuneError: A rank failed, died or hung, or the job was stopped; with its exit code.
    """
    arguments = parsed(options, settings)
    settle(arguments)
    if uses_deepspeed(arguments, read(arguments.config_file)):
        sharding.refuse_without_deepspeed()
    if arguments.num_processes == 1 and not is_sharded(arguments, read(arguments.config_file)):
        return list(arguments.training_script_args)
    from accelerate.commands.launch import launch_command
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    arguments.shutdown_timeout = max(int(timeout), 30)
    began = time.time()
    with tempfile.TemporaryDirectory(prefix="finetune-launch-") as folder, quiet(arguments):
        words = Path(folder)
        os.environ[rolls.LAUNCHER] = folder
        try:
            launch_command(arguments)
            if end := ends.ended(
                ends.words_of(words)
            ):  # all ranks ended well, but before training was over
                raise end
        except ChildFailedError as error:
            codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
            raise ends.found(run, words, codes, began) from None
        except SignalException as error:
            raise ends.ended(ends.words_of(words)) or ends.stopped(int(error.sigval)) from None
        except (KeyboardInterrupt, SystemExit):
            raise
        except FinetuneError:
            raise
        except (ValueError, ConnectionError, RuntimeError) as error:
            raise ConfigError(
                f"accelerate refuses to launch: {' '.join(str(error).split())[:500]}",
                fix="Its options stand before the first key=value; see docs/launching.md.",
            ) from error
        finally:
            os.environ.pop(rolls.LAUNCHER, None)
            end_all(words)
    return None


@contextlib.contextmanager
def quiet(arguments: Any) -> Iterator[None]:
    """Keep the launcher's own talk off the terminal: what ranks have to say is said by us."""
    if "--debug" in arguments.training_script_args:
        yield
        return
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def end_all(words: Path) -> None:
    """End ranks that are still there, after a second signal has broken off the wait for them."""
    left = []
    for file in words.glob("*.rank"):
        with contextlib.suppress(OSError, ValueError):
            left.append(storage.read_json(file))
    for entry in left:
        rolls.kill(entry)
