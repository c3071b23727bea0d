"""The command line: verb to stage, friendly errors, nothing heavy before a verb needs it."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from finetune.errors import ConfigError, FinetuneError, did_you_mean

USAGE = """\
Fine-tune a pretrained model: recipe in, merged model and report out.

  python -m finetune recipe=NAME [key=value …]      the whole job; the same command resumes it
  python -m finetune -m recipe=NAME key=1,2,3       one run per value
  python -m finetune run=FOLDER                     replay or resume the run in a folder

  show recipe=NAME …       the resolved configuration
  list [GROUP]             recipes, or the choices of model, task, data, strategy
  launch --num_processes 2 recipe=NAME …  the whole job on several processes or GPUs
  prepare recipe=NAME …    the data alone: splits, audit, report
  evaluate FOLDER …        score a finished run again, with other evaluate.… settings
  predict FOLDER FILE      answer the rows of a file with a finished run
  inspect FOLDER [ROW]     one training row as the model sees it, what is trained marked
  report FOLDER            rebuild the report
  doctor                   is this machine ready

First steps:  python -m finetune recipe=quickstart
Own data:     python -m finetune recipe=bert/text_classification data.path=mail.csv \\
                data.columns.text=body data.columns.label=queue
Options:      --debug shows tracebacks;  --help and list KEY explain keys, such as `list train`;
              --trust-remote-code lets a metric of evaluate.metrics that isn't ours run its code
"""
TRUST = "--trust-remote-code"
"""The only way to let code in that is not ours: typed by the user, never read from a file."""
VERBS = ("run", "show", "list", "prepare", "evaluate", "predict", "inspect", "report",
         "doctor", "launch", "help")  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    from finetune.stages import bytecode

    bytecode.use()
    code = call(list(sys.argv[1:] if arguments is None else arguments))
    if "torch" in sys.modules:  # what was quick stays quick
        bytecode.make()
    sys.exit(code)


def call(arguments: list[str]) -> int:
    """Run the command line and return its exit code."""
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        dispatch(arguments)
        sys.stdout.flush()  # here, so that a closed pipe is met where it is caught
    except FinetuneError as error:
        if debug:
            traceback.print_exc()
        complain(error)
        return error.exit_code
    except KeyboardInterrupt:
        if os.environ.get("RANK", "0") == "0" and "FINETUNE_LAUNCH_FOLDER" not in os.environ:
            sys.stderr.write("\nStopped. The same command goes on from where it stopped.\n")
        return 128 + signal.SIGINT
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if debug:
            raise
        where = traceback.extract_tb(error.__traceback__)[-1]
        complain(
            FinetuneError(
                f"An unexpected {type(error).__name__} at {Path(where.filename).name}:"
                f"{where.lineno}: {' '.join(str(error).split())[:500]}",
                fix="This is a fault of the program: give the same command with --debug and "
                "report the traceback.",
            )
        )
        return 1
    return 0


def complain(error: FinetuneError) -> None:
    """Print what is wrong, a line for each problem, and what to do; of several ranks, one does."""
    if "WORLD_SIZE" in os.environ:
        from finetune.runs import roll

        if roll.is_said_elsewhere(error):
            return
    before = "error: " if error.exit_code else ""  # nothing is wrong where time is up
    sys.stderr.write("\n")
    for problem in error.problems:
        sys.stderr.write(f"{before}{problem}\n")
    if error.fix:
        sys.stderr.write(f"  → {error.fix}\n")
    sys.stderr.flush()


def dispatch(arguments: list[str]) -> None:
    """Find the verb and call it."""
    if (
        not arguments
        or arguments[0] in ("help", "--help", "-h")
        or "--help" in arguments
        or "-h" in arguments
    ):
        sys.stdout.write(USAGE)
        return
    if arguments[0] == "--version":
        from finetune.version import __version__

        sys.stdout.write(f"finetune {__version__}\n")
        return
    if arguments[0] == "launch":
        launch(arguments[1:])
        return
    sweep = [argument for argument in arguments if argument in ("-m", "--multirun")]
    arguments = [argument for argument in arguments if argument not in sweep]
    if any(argument.startswith("-") and argument != TRUST for argument in arguments):
        from finetune.config import hints

        hints.refuse_options([argument for argument in arguments if argument != TRUST])
    verb, rest = "run", arguments
    if arguments and "=" not in arguments[0] and not arguments[0].startswith(("~", "+")):
        verb, rest = arguments[0], arguments[1:]
    if verb not in VERBS:
        from finetune.config import hints

        raise hints.unknown_verb(verb, VERBS)
    if sweep or (
        verb == "run"
        and any(word.startswith(("hydra/launcher=", "hydra.launcher.")) for word in rest)
    ):
        if verb != "run":
            raise ConfigError(f"`-m` sweeps runs, not `{verb}`.")
        from finetune.stages.sweep import run_many

        run_many(rest, check=compose)
        return
    actions: dict[str, Callable[[Sequence[str]], None]] = {
        "run": run, "show": show, "list": list_, "prepare": prepare, "evaluate": evaluate,
        "predict": predict, "inspect": inspect, "report": report, "doctor": doctor,
    }  # fmt: skip
    actions[verb](rest)


def compose(arguments: Sequence[str]) -> Any:
    """Return the validated configuration of `recipe=…` or of `run=FOLDER`."""
    from finetune import tasks
    from finetune.config import compose as composing

    trust = TRUST in arguments
    arguments = [argument for argument in arguments if argument != TRUST]
    folders = [argument for argument in arguments if argument.startswith("run=")]
    if not folders:
        config = composing.compose(arguments, task_schema=tasks.find)
        config.trust_remote_code = trust
        return config
    rest = [argument for argument in arguments if argument not in folders]
    folder = Path(folders[-1].removeprefix("run=")).resolve()
    config = composing.load(folder / "config.yaml", rest, task_schema=tasks.find)
    # The folder says where it is, not what config.yaml remembers: it may have been moved.
    given = {argument.partition("=")[0] for argument in rest}
    if "name" not in given:
        config.name = folder.name
    if "run.dir" not in given:
        config.run.dir = str(folder.parent)
    config.trust_remote_code = trust
    return config


def run(arguments: Sequence[str]) -> None:
    """Run the whole job."""
    config = trained(arguments)
    settle()
    from finetune.stages.job import run_job

    run_job(config, command=["python", "-m", "finetune", *arguments])


def launch(arguments: Sequence[str]) -> None:
    """Run the whole job on several processes."""
    from finetune.runs.folder import RunFolder
    from finetune.stages import launch as launching

    options, settings = launching.divided(arguments)
    config = trained(settings)  # every mistake once, before anything is started
    settle()
    debug = ["--debug"] if "--debug" in sys.argv else []
    alone = launching.launch(
        options,
        [*settings, *debug],
        RunFolder(Path(config.run.dir) / config.name),
        timeout=config.train.dist_timeout,
    )
    if alone is not None:
        run([word for word in alone if word != "--debug"])


def trained(arguments: Sequence[str]) -> Any:
    """Return the configuration of a job that trains."""
    config = compose(arguments)
    if not config.task.trains:
        raise ConfigError(
            f"`recipe={config.recipe}` prepares data and trains nothing.",
            fix=f"Give `python -m finetune prepare {' '.join(arguments)}`, or another recipe.",
        )
    return config


def prepare(arguments: Sequence[str]) -> None:
    """Run the data stage alone, with its report."""
    config = compose(arguments)
    settle()
    from finetune.stages.job import run_job

    run_job(config, command=["python", "-m", "finetune", "prepare", *arguments], until="prepare")


def show(arguments: Sequence[str]) -> None:
    """Print the resolved configuration."""
    import yaml

    sys.stdout.write(yaml.safe_dump(compose(arguments).plain, sort_keys=False, allow_unicode=True))


def list_(arguments: Sequence[str]) -> None:
    """Print what exists: recipes and groups, or the choices of one, or the keys of a section."""
    from finetune.config import listing

    sys.stdout.write("\n".join(map(listing.text, arguments or (None,))))


def opened(arguments: Sequence[str], verb: str) -> tuple[Any, list[str]]:
    """Return the run folder that a verb names first, and the other arguments."""
    from finetune.runs.folder import RunFolder

    if not arguments or "=" in arguments[0]:
        raise ConfigError(
            f"`{verb}` needs a run folder.", fix=f"Give `python -m finetune {verb} runs/NAME`."
        )
    folder = RunFolder(Path(arguments[0]))
    if not folder.config.is_file():
        near = (
            [str(entry) for entry in folder.path.parent.glob("*")]
            if folder.path.parent.is_dir()
            else []
        )
        raise ConfigError(
            f"`{folder.path}` is no run folder: it has no config.yaml"
            f"{did_you_mean(str(folder.path), near) or '.'}"
        )
    return folder, list(arguments[1:])


def only(overrides: Sequence[str], verb: str, used: tuple[str, ...]) -> None:
    """Refuse settings that a verb would not look at."""
    unused = [o for o in overrides if o != TRUST and not o.lstrip("+").startswith(used)]
    if unused:
        names = ", ".join(key.rstrip("=.") for key in used)
        raise ConfigError(
            [f"`{override}` is not used by `{verb}`." for override in unused],
            fix=f"It takes: {names}. Other rows are answered with `predict`.",
        )


def evaluate(arguments: Sequence[str]) -> None:
    """Score a finished run again."""
    folder, rest = opened(arguments, "evaluate")
    only(rest, "evaluate", ("evaluate.", "report.", "train.device="))
    config = compose([f"run={folder.path}", *rest])
    settle()
    from finetune.stages.again import evaluate_again

    evaluate_again(folder, config)


def report(arguments: Sequence[str]) -> None:
    """Rebuild the report of a run."""
    folder, rest = opened(arguments, "report")
    config = compose([f"run={folder.path}", *rest])
    from finetune.stages.report import report as build

    build(folder, config)
    sys.stderr.write(f"   report   {folder.report}\n")


def predict(arguments: Sequence[str]) -> None:
    """Answer the rows of a file."""
    folder, rest = opened(arguments, "predict")
    if not rest or "=" in rest[0]:
        raise ConfigError(
            "`predict` needs a file of rows.",
            fix="Give `python -m finetune predict runs/NAME rows.csv`.",
        )
    reading = (
        "format", "encoding", "delimiter", "header", "sheet", "query", "on_invalid", "columns."
    )  # fmt: skip
    used = ("evaluate.batch_size=", "train.device=", *(f"data.{key}" for key in reading))
    only(rest[1:], "predict", used)
    config = compose([f"run={folder.path}", *rest[1:]])
    settle()
    from finetune.stages.predict import predict_file

    for line in predict_file(folder, config, rest[0]):
        sys.stdout.write(line + "\n")


def inspect(arguments: Sequence[str]) -> None:
    """Show a training row."""
    folder, rest = opened(arguments, "inspect")
    row = rest.pop(0) if rest and "=" not in rest[0] else None
    only(rest, "inspect", ())
    config = compose([f"run={folder.path}"])
    settle()
    from finetune.stages.inspect import inspect as look

    for line in look(folder, config, row=row):
        sys.stdout.write(line + "\n")


def doctor(arguments: Sequence[str]) -> None:
    """Say whether this machine is ready."""
    del arguments
    from finetune.stages.doctor import checks

    lines, ready = checks()
    sys.stdout.write("\n".join(lines) + "\n")
    if not ready:
        raise ConfigError("This machine is not ready.", fix="See the lines marked ✗ above.")


def settle() -> None:
    """Set what must be set before torch is imported: quiet libraries, threads that wait, memory."""
    defaults = {
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_WAIT_POLICY": "PASSIVE",
        "THP_MEM_ALLOC_ENABLE": "1",  # torch asks for large pages: less to clear in each step
        "TORCH_CPP_LOG_LEVEL": "ERROR",
        "TRANSFORMERS_VERBOSITY": "error",
        "DATASETS_VERBOSITY": "error",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "BITSANDBYTES_NOWELCOME": "1",
    }
    for key, value in defaults.items():
        os.environ.setdefault(key, value)
    import logging
    import warnings

    from finetune.stages import postponed, processors

    postponed.install()
    processors.settle()
    logging.basicConfig(format="   %(levelname)s: %(message)s", level=logging.WARNING)
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    if "--debug" not in sys.argv:
        warnings.filterwarnings("ignore")
