"""The whole job: prepare, train, export, evaluate, report; what is done is not done again."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from finetune.config.schema import RunConfig
from finetune.errors import FinetuneError, GateError, Interrupted
from finetune.models.source import BaseModel
from finetune.runs.folder import RunFolder
from finetune.stages import devices, prepared
from finetune.stages.announce import say, say_data, say_end, say_kept
from finetune.stages.devices import Device
from finetune.stages.processes import (
    end_group,
    follow,
    forget_marker,
    settle_checkpoints,
    write_marker,
)
from finetune.stages.signals import StopError, heeded, told
from finetune.stages.since import Since

ONCE = {"overwrite": False, "allow_changes": []}
"""Permissions, as config.yaml keeps them."""


def run_job(
    config: RunConfig, *, command: Sequence[str] = (), rows: Any = None, until: str = "report"
) -> RunFolder:
    """Run every stage that is not done yet, up to and with `until`.

    Args:
        config: The run.
        command: What was typed, for the manifest.
        rows: Rows given through the Python API instead of `data.path`.
        until: Last stage to run.

    Returns:
        The run folder.

    Raises:
        FinetuneError: Something is wrong; error.json in the folder says it too.
    """
    run = RunFolder(Path(config.run.dir) / config.name)
    rank, world = devices.world()
    if rank != 0:
        follow(run, config)  # a launcher ends these silently; the main process says why
        return run
    with heeded(lambda: run.current):
        claimed(run, config, command=command, rows=rows, until=until, world=world)
    return run


def claimed(
    run: RunFolder, config: RunConfig, *, command: Sequence[str], rows: Any, until: str, world: int
) -> None:
    """Run the stages in a folder that is ours alone meanwhile, and write down what fails."""
    from finetune.runs import attempts

    since = Since(run, config, rows)
    allow = config.run.allow_changes
    run.claim(text_of(config), overwrite=config.run.overwrite, allow=allow, found=since.changes)
    before, command = attempts.count(run), moved(command)
    try:
        forget_marker(run)
        since.accept()
        lead(
            run,
            config,
            command=command,
            rows=rows,
            until=until,
            world=world,
            base=since.base,
        )
        attempts.end(run, before, None)
    except (Interrupted, StopError) as error:
        forget_half(run)
        ended = told(error.number, run.current) if isinstance(error, StopError) else error
        attempts.end(run, before, ended)
        raise  # nothing failed
    except FinetuneError as error:
        run.write_error(error)
        attempts.end(run, before, error)
        raise
    except Exception as error:
        attempts.end(run, before, error)
        what = f"An unexpected {type(error).__name__}: {' '.join(str(error).split())[:500]}"
        run.write_error(FinetuneError(what, fix="Give the same command with --debug."))
        raise
    finally:
        run.unlock()


def text_of(config: RunConfig) -> str:
    """Return what config.yaml holds.

    Without permissions, which are given once, for one attempt, and without a place on this
    machine: a run folder may be moved, and `run=FOLDER` says where it is.
    """
    from omegaconf import OmegaConf

    kept = {key: value for key, value in config.plain["run"].items() if key not in ONCE}
    if Path(str(kept.get("dir", ""))).expanduser().is_absolute():
        del kept["dir"]
    plain = {**config.plain, "run": {**kept, **ONCE}}
    # Its own dumper quotes text that its loader would read as a number, such as 1e5.
    return OmegaConf.to_yaml(OmegaConf.create(plain))


def moved(command: Sequence[str]) -> list[str]:
    """Return a command as it may be kept: without the place of the run folder on this machine."""
    kept = []
    for word in command:
        key, _, value = word.partition("=")
        if key in ("run", "run.dir") and Path(value).expanduser().is_absolute():
            if key == "run.dir":
                continue
            word = f"run={'/'.join(Path(value).parts[-2:])}"
        kept.append(word)
    return kept


def forget_half(run: RunFolder) -> None:
    """Remove what a stage that a signal has broken off leaves half-written."""
    from finetune.runs import storage

    for stage, folder in (("prepare", run.data), ("evaluate", run.evaluation)):
        if run.current == stage and not run.is_done(stage):
            storage.remove_tree(folder)


def lead(
    run: RunFolder,
    config: RunConfig,
    *,
    command: Sequence[str],
    rows: Any,
    until: str,
    world: int,
    base: BaseModel | None = None,
) -> None:
    """Run the stages on the main process; the base model is resolved unless it was before."""
    from finetune.stages import augmentation, base_model, environment

    if config.task.trains:
        augmentation.check(config)
    begin(run, config, command)
    device = devices.choose(config.train.device, config.train.precision)
    run.record(environment=environment.describe(device=device.name, world_size=world))
    log_attempt(run, device, command=command, world=world)
    if slow := devices.slower_than_needed(device):
        sys.stderr.write(f"   {slow}\n")
    if base is None and config.model.name_or_path:
        base = base_model.resolve(config)
    if base is not None:
        base_model.record(run, base)
    if run.is_done("prepare"):
        prepared.verify(run)
    if not run.is_done("prepare"):
        say("prepare", f"{named(config)} for {config.task.tag}")
        from finetune.stages.prepare import prepare

        with run.stage("prepare"):
            prepare(run, config, base, rows=rows)
        say_data(run)
    if until == "prepare" or base is None:
        return finish(run, config)
    if world > 1:
        settle_checkpoints(run, config)
        write_marker(run)
    if not run.is_done("train"):
        where = f"on {device.name} in {device.precision}"
        others = f" with {world} processes" if world > 1 else ""
        say("train", f"{config.model.name_or_path}, {config.strategy.name}, {where}{others}")
        say_end(command)
        from finetune.stages.train import train

        with run.stage("train") as facts:
            facts.update(train(run, config, base))
            say_kept(facts, config.task.primary)
        record_strategy(run, config)
    end_group()
    if not run.is_done("export"):
        say(
            "export",
            "fold in, write, and compare in a fresh process"
            if config.strategy.peft_type
            else "write, and compare in a fresh process",
        )
        from finetune.stages.export import export

        with run.stage("export") as facts:
            facts.update(export(run, config, base))
    if not run.is_done("evaluate"):
        say("evaluate", "exported model, untouched base and baselines on the same test rows")
        from finetune.stages.evaluate import evaluate

        with run.stage("evaluate") as facts:
            facts.update(evaluate(run, config, base))
    return finish(run, config)


def named(config: RunConfig) -> str:
    """Return where the data come from, without what a URL says of a user."""
    data = config.data
    text = data.path or data.train or " + ".join(data.mix) or "rows"
    return re.sub(r"://[^/@]*@", "://…@", text)


def begin(run: RunFolder, config: RunConfig, command: Sequence[str]) -> None:
    """Open the manifest."""
    from finetune.stages import environment
    from finetune.version import __version__

    if "created_at" not in run.manifest():
        run.record(
            finetune_version=__version__,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            command=list(command),
            recipe=config.recipe,
            name=config.name,
            task=config.task.hub_tag,
            seed=config.seed,
            git=environment.git(),
            stages={},
        )


def log_attempt(run: RunFolder, device: Device, *, command: Sequence[str], world: int) -> None:
    """Record what this attempt runs on and with, and say what differs from the one before."""
    from finetune.runs import attempts
    from finetune.stages import environment

    facts = environment.attempt(device=device.name, precision=device.precision, world_size=world)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    warning = attempts.begin(run, {"started_at": now, "command": list(command), **facts})
    if warning:
        sys.stderr.write(f"   {warning}\n")


def finish(run: RunFolder, config: RunConfig) -> None:
    """Write the report, say where everything is, and judge the goal."""
    from finetune.runs import storage
    from finetune.stages.report import report

    with run.stage("report"):
        report(run, config)
    report(run, config)  # once more, so that it shows its own time and the finished manifest
    seconds = sum(stage.get("seconds", 0) for stage in run.manifest()["stages"].values())
    metrics = run.evaluation / "metrics.json"
    if metrics.is_file():
        from finetune.reports.verdict import headline

        found = storage.read_json(metrics)
        sys.stderr.write(f"\n{headline(found).text}\n")
        sys.stderr.write(f"   model    {run.merged}\n")
    sys.stderr.write(f"   report   {run.report}\n   done in {seconds:.0f} s\n")
    goal = storage.read_json(metrics).get("goal") if metrics.is_file() else None
    if goal and not goal["met"]:
        raise GateError(
            f"The goal is not met: {goal['metric']} is {goal['value']:.4g}, "
            f"wanted {goal['target']:g}.",
            fix=f"The run is complete; its report is {run.report}.",
        )


def record_strategy(run: RunFolder, config: RunConfig) -> None:
    """Write what was trained into the manifest."""
    train = run.manifest()["stages"]["train"]
    quantization = getattr(config.strategy, "quantization", None)
    run.record(
        strategy={
            "name": config.strategy.name,
            "peft_type": config.strategy.peft_type,
            "quantization": None
            if quantization is None
            else f"{quantization.bits}-bit {quantization.quant_type}",
            "trainable_parameters": train["trainable_parameters"],
            "total_parameters": train["total_parameters"],
        }
    )
