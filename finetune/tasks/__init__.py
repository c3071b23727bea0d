"""Problems, a file each: tag `text-classification`, `text_classification.TextClassification`."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from finetune.tasks.base import Task


DATA = "data"
"""Rows alone: cleaned, cut and audited, with no model; what `prepare` takes besides a task."""


def tags() -> list[str]:
    """Return the tags of all tasks: every module here that isn't a part of them."""
    return sorted(
        file.stem.replace("_", "-")
        for file in Path(__file__).parent.glob("*.py")
        if "class " + class_name(file.stem) + "(" in file.read_text(encoding="utf-8")
    )


def class_name(module: str) -> str:
    """Return the name of the Task class in a module."""
    return "".join(part.capitalize() for part in module.split("_"))


def find(tag: str) -> type[Task]:
    """Return the Task class of a tag, without importing torch or transformers.

    Raises:
        ConfigError: There is no such task.
    """
    if tag not in (*tags(), DATA):
        raise ConfigError(
            f"`task.tag={tag}` is no task"
            f"{did_you_mean(tag, tags()) or '; there are: ' + ', '.join(tags()) + '.'}"
        )
    module = tag.replace("-", "_")
    task: type[Task] = getattr(
        importlib.import_module(f"finetune.tasks.{module}"), class_name(module)
    )
    return task
