"""Synthetic rows from the package's own minute language model, offline."""

from __future__ import annotations

import pyarrow as pa
import pytest

from finetune.errors import ConfigError
from finetune.stages import synthesis
from tests.contracts.cases import compose
from tests.models.bases import TINY

SETTINGS = (
    f"data.synthesize.model={TINY / 'gpt'}",
    "data.synthesize.rows=3",
    "data.synthesize.rounds=2",
    "data.synthesize.max_new_tokens=24",
)


def tables(texts):
    rows = {"id": [str(n) for n in range(len(texts))], "text": texts, "label": ["tea"] * len(texts)}
    whole = pa.table(rows)
    return {"train": whole, "validation": whole.slice(0, 0), "test": whole.slice(0, 0)}


def test_a_minute_model_makes_up_rows_the_same_ones_each_time(tmp_path):
    config = compose("text-classification", tmp_path, *SETTINGS)
    data = tables(["two teas please", "one tea with milk", "a large tea", "tea and a bun"])
    first, second = (synthesis.add(config, data) for _ in range(2))
    assert first.table == second.table
    assert first.audit["added"] > 0
    assert first.audit["proposed"] >= first.audit["added"]
    assert set(first.table["label"].to_pylist()) == {"tea"}


def test_rows_that_are_nearly_alike_share_a_group():
    texts = ["please bring two large teas with milk and one bun to table nine right now"]
    other = ["Please bring two large teas with milk, and one bun to table nine, right now!"]
    groups = synthesis.groups(
        [pa.table({"text": [*texts, "ice"]}), pa.table({"text": other})], ["text"]
    )
    assert groups[0] == groups[2] != groups[1]


def test_a_task_that_cannot_be_written_is_refused_before_a_model_is_sought(tmp_path):
    config = compose(
        "automatic-speech-recognition", tmp_path, "data.synthesize.model=no/such/folder"
    )
    with pytest.raises(ConfigError, match="can't make up"):
        synthesis.add(config, {})
