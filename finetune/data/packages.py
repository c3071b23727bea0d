"""Folders inside installed packages, found without importing the package."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from finetune.errors import DataError, did_you_mean


def package_folder(text: str) -> Path:
    """Find ``package:module/folder`` on disk without importing the module."""
    module, _, inside = text.removeprefix("package:").partition("/")
    top, *deeper = module.split(".")
    # find_spec imports the parents of a dotted name, so only the top one is asked for.
    spec = importlib.util.find_spec(top) if top.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise DataError(
            f"`{text}` needs the Python package `{top}`, which is not installed.",
            fix=f"Install the distribution that holds `{top}`, or give a folder.",
        )
    root = Path(next(iter(spec.submodule_search_locations))).resolve()
    folder = root.joinpath(*deeper, inside).resolve()
    if not folder.is_relative_to(root):
        raise DataError(f"`{text}` leaves the package.", fix="Name a folder inside it.")
    if not folder.exists():
        raise missing(folder, called=text)
    return folder


def missing(path: Path, called: str = "") -> DataError:
    """Say that a path is not there, with the nearest names that are."""
    parent = next((folder for folder in path.parents if folder.is_dir()), Path())
    absent = path.relative_to(parent).parts[0] if path.is_relative_to(parent) else path.name
    try:
        there = sorted(item.name for item in parent.iterdir())
    except OSError:
        there = []
    return DataError(
        f"`{called or path}` does not exist{did_you_mean(absent, there) or '.'}",
        fix=f"Check the path; `{parent}` was found, `{absent}` in it was not.",
    )
