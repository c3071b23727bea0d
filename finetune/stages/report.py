"""Report: report.html and the model card, from the run folder alone."""

from __future__ import annotations

from finetune.config.schema import RunConfig
from finetune.reports import card
from finetune.reports import report as html
from finetune.runs import storage
from finetune.runs.folder import RunFolder


def report(run: RunFolder, config: RunConfig) -> None:
    """Write both."""
    if run.merged.is_dir():
        storage.write_text(run.merged / "README.md", card.model_card(run.path))
        results = card.eval_results(run.path)
        if results is not None:
            storage.write_text(run.merged / ".eval_results" / f"{config.name}.yaml", results)
    html.build(run.path, examples=config.report.examples)
