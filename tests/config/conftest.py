"""A user's folder with recipes of their own, and composing as the command line does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from finetune import tasks
from finetune.config import compose as composing
from finetune.config.schema import RunConfig
from finetune.errors import FinetuneError

BASE = "recipe=bert/text_classification"


@pytest.fixture
def compose() -> Callable[..., RunConfig]:
    """Compose overrides; the first word of ours is the recipe unless one is named."""

    def call(*arguments: str) -> RunConfig:
        named = any(argument.startswith("recipe=") for argument in arguments)
        return composing.compose(arguments if named else (BASE, *arguments), task_schema=tasks.find)

    return call


@pytest.fixture
def refused(compose: Callable[..., RunConfig]) -> Callable[..., FinetuneError]:
    """Compose what must be refused, and return the error."""

    def call(*arguments: str) -> FinetuneError:
        with pytest.raises(FinetuneError) as caught:
            compose(*arguments)
        return caught.value

    return call


@pytest.fixture
def own_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], str]:
    """Write a recipe into ./recipes of an otherwise empty folder, and stand there."""
    monkeypatch.chdir(tmp_path)

    def write(name: str, content: str) -> str:
        file = tmp_path / "recipes" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
        return f"recipe={name}"

    return write


@pytest.fixture(scope="session")
def plain() -> dict[str, Any]:
    """One valid configuration as plain values; copy it before changing it."""
    return composing.compose([BASE, "strategy=qlora"], task_schema=tasks.find).plain
