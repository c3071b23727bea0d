"""Evaluate once more: a finished run with other `evaluate` settings, on the same test rows."""

from __future__ import annotations

from finetune.config.schema import RunConfig
from finetune.errors import ConfigError
from finetune.runs.folder import RunFolder
from finetune.stages.signals import heeded


def evaluate_again(run: RunFolder, config: RunConfig) -> None:
    """Score the exported model of a finished run again and rebuild its report.

    Raises:
        ConfigError: The run has no exported model.
    """
    from finetune.stages import base_model, prepared
    from finetune.stages.announce import say
    from finetune.stages.evaluate import evaluate
    from finetune.stages.job import finish

    if not run.is_done("export"):
        raise ConfigError(
            f"`{run.path}` has no exported model yet.",
            fix=f"Finish it first: python -m finetune run={run.path}",
        )
    run.lock()
    try:
        with heeded(lambda: run.current):
            prepared.verify(run)
            say("evaluate", f"{run.merged} on {config.evaluate.max_rows or 'all'} test rows")
            with run.stage("evaluate") as facts:
                facts.update(evaluate(run, config, base_model.resolve(config)))
            finish(run, config)
    finally:
        run.unlock()
