"""Finished runs of minute bases, one per family and process, and the command line in-process."""

from __future__ import annotations

import contextlib
import functools
import io
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

from finetune import cli
from finetune.runs.folder import RunFolder
from tests.contracts.cases import RECIPES

QUICK = (
    "data.max_rows=60",
    "train.max_steps=3",
    "train.global_batch_size=8",
    "train.eval_max_rows=4",
    "evaluate.max_rows=8",
    "evaluate.resamples=20",
    "export.parity_rows=8",
    "tracking.report_to=[]",
)
BERT, T5, GPT = "text-classification", "text2text-generation", "text-generation"
CLIP, WHISPER = "zero-shot-image-classification", "automatic-speech-recognition"
_kept: list[tempfile.TemporaryDirectory[str]] = []


class Said(NamedTuple):
    """What a command left on the terminal."""

    code: int
    out: str
    err: str

    def problems(self) -> list[str]:
        """Return the sentences that say what is wrong, checked for their form."""
        lines = self.err.splitlines()
        assert "Traceback" not in self.err
        found = [line for line in lines if line.startswith("error: ")]
        assert self.code == 0 or found
        told = any(line.startswith("  → ") for line in lines)  # a wrong setting says it itself
        assert self.code in (0, 2) or told, self.err
        return found


def say(*arguments: str) -> Said:
    """Run the command line in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.call(list(arguments))
    return Said(code, out.getvalue(), err.getvalue())


def arguments(tag: str, folder: Path, *more: str) -> list[str]:
    """Return the command of a quick run of a family."""
    recipe, model = RECIPES[tag]
    return [f"recipe={recipe}", f"model={model}", f"run.dir={folder}", "name=case", *QUICK, *more]


@functools.cache
def finished(tag: str, *more: str) -> RunFolder:
    """Return a finished run; tests read it, and copy it before they change it."""
    _kept.append(tempfile.TemporaryDirectory(prefix="finetune-finished-"))
    folder = Path(_kept[-1].name)
    said = say(*arguments(tag, folder, *more))
    assert said.code == 0, said.err
    return RunFolder(folder / "case")


def copy_of(run: RunFolder, folder: Path) -> RunFolder:
    """Return a copy of a run under another folder."""
    shutil.copytree(run.path, folder / "case")
    return RunFolder(folder / "case")
