"""Each task, found by its tag, on its minute base with rows of its sample."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from finetune.models.load import Loaded, LoadOptions, Quantization
from finetune.stages import splits
from tests.contracts.cases import TAGS, compose, prepared

CASES: dict[str, Case] = {}


@dataclass(frozen=True)
class Case:
    """A task that knows its processor and labels, rows of its data, and its base."""

    task: Any
    rows: list[dict[str, Any]]
    folder: Path

    def load(self, *, quantized: bool = False) -> Loaded:
        """Load the base without dropout, so that answers repeat."""
        quantization = Quantization() if quantized else None
        loaded: Loaded = self.task.load_model(
            self.folder, LoadOptions(dropout=0.0, quantization=quantization)
        )
        return loaded


@pytest.fixture(scope="session", params=TAGS)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Each task in turn."""
    tag = request.param
    if tag not in CASES:
        folder = tmp_path_factory.mktemp(tag)
        config = compose(tag, folder, "name=case")
        run, base = prepared(config)
        rows = splits.as_rows(splits.read(run, "train", max_rows=8)[:])
        CASES[tag] = Case(config.task, rows, base.folder)
    return CASES[tag]


@pytest.fixture(scope="session")
def model(case: Case) -> Any:
    """The case's base with its head, loaded once; tests leave it as it is."""
    return case.load().model
