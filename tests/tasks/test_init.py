"""A task is found by its path."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from finetune import tasks
from finetune.errors import ConfigError
from finetune.tasks.base import Task

ROOT = Path(__file__).resolve().parents[2]


def test_every_tag_is_a_class_of_that_tag() -> None:
    assert len(tasks.tags()) >= 5
    for tag in tasks.tags():
        found = tasks.find(tag)
        assert issubclass(found, Task)
        assert found.tag == tag


def test_parts_of_tasks_are_no_tasks() -> None:
    assert not {"base", "chat", "generation", "baselines", "pooled"} & set(tasks.tags())


def test_a_misspelt_tag_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean `text-classification`"):
        tasks.find("text-clasification")


def test_a_tag_like_no_other_lists_them_all() -> None:
    with pytest.raises(ConfigError, match=r"there are: .*text-generation"):
        tasks.find("zzz")


def test_finding_tasks_imports_nothing_heavy() -> None:
    program = (
        "import sys; from finetune import tasks; [tasks.find(tag) for tag in tasks.tags()]; "
        "print({'torch', 'transformers', 'datasets', 'pandas', 'sklearn'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.stdout.strip() == "set()", done.stderr
