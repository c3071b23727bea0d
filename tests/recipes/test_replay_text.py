"""config.yaml gives back the text that it was given, also where it looks like a number."""

from __future__ import annotations

from pathlib import Path

import pytest

from finetune import cli
from finetune.errors import FinetuneError
from finetune.stages.job import run_job


@pytest.mark.parametrize("text", ["1e5", "0x1f", "yes", "2024-01-01", "null "])
def test_text_that_looks_like_something_else_is_replayed_as_text(tmp_path: Path, text: str) -> None:
    config = cli.compose(
        [
            "recipe=bert/text_classification",
            "model=tiny/bert",
            f"run.dir={tmp_path}",
            "name=case",
            "data.path=nowhere.csv",
            f"data.columns.text='{text}'",
        ]
    )
    with pytest.raises(FinetuneError):
        run_job(config)
    again = cli.compose([f"run={tmp_path / 'case'}"])
    assert again.data.columns["text"] == text
