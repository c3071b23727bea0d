"""The Python API: the command line's path, for notebooks and scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finetune.runs.folder import RunFolder
    from finetune.stages.predict import Predictor


ROWS = "rows:"
"""What `data.path` says in the configuration of a run whose rows were handed over in Python."""


class Run:
    """A run on disk.

    Args:
        path: Its folder.
    """

    def __init__(self, path: Path | str) -> None:
        from finetune.errors import ConfigError
        from finetune.runs.folder import RunFolder

        self.folder: RunFolder = RunFolder(path)
        if not self.folder.config.is_file():
            raise ConfigError(f"`{path}` is no run folder: it has no config.yaml.")

    def __repr__(self) -> str:
        return f"Run({str(self.folder.path)!r})"

    @property
    def path(self) -> Path:
        """The folder."""
        return self.folder.path

    @property
    def merged(self) -> Path:
        """The model that plain transformers loads."""
        return self.folder.merged

    @property
    def report(self) -> Path:
        """The report."""
        return self.folder.report

    @property
    def manifest(self) -> dict[str, Any]:
        """Versions, hashes, and what each stage took."""
        return self.folder.manifest()

    @property
    def metrics(self) -> dict[str, Any]:
        """Scores on the test rows: what eval/metrics.json holds."""
        from finetune.runs import storage

        found: dict[str, Any] = storage.read_json(self.folder.evaluation / "metrics.json")
        return found

    def predictor(self) -> Predictor:
        """Return the exported model, ready to answer raw rows."""
        from finetune import cli
        from finetune.stages.predict import Predictor

        cli.settle()
        return Predictor(self.folder, cli.compose([f"run={self.path}"]))

    def _repr_html_(self) -> str:
        """Show the report in a notebook."""
        import html

        text = self.report.read_text(encoding="utf-8") if self.report.is_file() else repr(self)
        return f'<iframe srcdoc="{html.escape(text)}" width="100%" height="800"></iframe>'


def run(recipe: str, *overrides: str, rows: Sequence[Mapping[str, Any]] | None = None) -> Run:
    """Run a recipe with overrides, as the command line does.

    Args:
        recipe: Its name, as in `recipe=NAME`.
        overrides: ``key=value``, as on the command line.
        rows: Data as dicts, cut into splits, instead of what the recipe's `data` names.

    Returns:
        The finished run.

    Raises:
        FinetuneError: Something is wrong; the message says what to do.
    """
    from finetune import cli
    from finetune.stages.job import run_job

    handed_over = [f"data.path={ROWS}"] if rows is not None else []
    arguments = [f"recipe={recipe}", *handed_over, *overrides]
    config = cli.compose(arguments)
    cli.settle()
    return Run(run_job(config, command=["finetune.run", *arguments], rows=rows).path)


def load(path: Path | str) -> Run:
    """Open a run folder."""
    return Run(path)
