"""Usage: the few lines that load the merged model with plain libraries, one file for each task."""

from __future__ import annotations

from pathlib import Path

_SNIPPETS = Path(__file__).parent / "templates" / "usage"


def snippet(task: str, folder: Path | None = None) -> str:
    """Return Python code that uses ``merged/`` without this project.

    Args:
        task: The Hub's pipeline tag; a tag without a snippet gets the general one.
        folder: The run folder, to see whether ``merged/`` is a sentence-transformers folder.
    """
    if folder is not None and (folder / "merged" / "modules.json").is_file():
        return (_SNIPPETS / "sentence-transformers.txt").read_text(encoding="utf-8").strip()
    # Only names that are on disk are opened: the tag comes from a file.
    known = {path.stem: path for path in sorted(_SNIPPETS.glob("*.txt"))}
    return known.get(task, known["any"]).read_text(encoding="utf-8").strip()
