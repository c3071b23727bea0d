"""The prepared rows on disk: hashed when they are written, compared before they are used again."""

from __future__ import annotations

import sys

from finetune.errors import ArtefactError
from finetune.runs import storage
from finetune.runs.folder import RunFolder


def hashes(run: RunFolder) -> dict[str, str]:
    """Return the sha256 of every file that later stages read, by its name below data/."""
    files = [
        *run.data.glob("*.parquet"),
        *run.data.glob("encoded/*.arrow"),
        run.data / "audit.json",
    ]
    return {file.relative_to(run.data).as_posix(): storage.sha256(file) for file in sorted(files)}


def problem_with(run: RunFolder) -> str | None:
    """Return what is wrong with the prepared rows, or None when they are as they were written."""
    for name, known in ((run.manifest().get("data") or {}).get("files") or {}).items():
        file = run.data / name
        if file.is_symlink() or not file.is_file():
            return f"{name} is missing"
        if storage.sha256(file) != known:
            return f"{name} was changed after it was written"
    return None


def verify(run: RunFolder) -> None:
    """Prepare anew when the rows are damaged and nothing has been trained on them yet.

    Raises:
        ArtefactError: Something has been trained on what was there before.
    """
    problem = problem_with(run)
    if problem is None:
        return
    if run.has_trained():
        raise ArtefactError(
            f"The prepared rows in `{run.data}` cannot be used: {problem}.",
            fix="Restore that file, or start the run anew with run.overwrite=true.",
            where=str(run.data),
        )
    sys.stderr.write(f"   the rows are prepared anew: {problem}\n")
    run.forget_stages(["prepare"])
