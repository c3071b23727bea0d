"""Train minute bases for a few steps on samples, each test in a copy of prepared data."""

from __future__ import annotations

import functools
import shutil
import tempfile
from pathlib import Path
from typing import Any

from finetune.runs import storage
from finetune.runs.folder import RunFolder
from finetune.stages import base_model
from finetune.stages import train as stage
from tests.contracts.cases import compose, prepared

TIMES = ("units_per_second", "memory")
"""Keys of the log that measure the machine, not the training."""


@functools.cache
def prepared_once(tag: str) -> tuple[tempfile.TemporaryDirectory[str], Path]:
    """Return a run folder with a task's data prepared; the first lives as long as the process."""
    keep = tempfile.TemporaryDirectory(prefix="finetune-test-")
    run, _ = prepared(compose(tag, Path(keep.name)))
    run.unlock()
    return keep, run.path


def config_of(tag: str, folder: Path, *overrides: str) -> Any:
    """Return the configuration of a run in a copy of prepared data under a folder."""
    config = compose(
        tag,
        folder,
        "train.global_batch_size=8",
        "train.warmup_ratio=0",
        "train.gradient_checkpointing=false",  # its plan looks at a row; tests count losses
        *overrides,
    )
    target = Path(config.run.dir) / config.name
    if not target.exists():
        shutil.copytree(prepared_once(tag)[1], target)
    return config


def train(config: Any) -> tuple[RunFolder, dict[str, Any]]:
    """Train and return the run with the facts that training gives."""
    run = RunFolder(Path(config.run.dir) / config.name)
    return run, stage.train(run, config, base_model.resolve(config))


def log_of(run: RunFolder) -> list[dict[str, Any]]:
    """Return the metrics log without what measures the machine."""
    lines = storage.read_jsonl(run.metrics_log)
    return [{key: v for key, v in line.items() if key not in TIMES} for line in lines]


def weights_of(run: RunFolder, step: int) -> dict[str, bytes]:
    """Return the bytes of a checkpoint's weights and state, by file."""
    folder = run.checkpoints / f"step-{step}"
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert {"optimizer.safetensors", "optimizer.json", "seen.json", "scheduler.json"} <= set(files)
    del files["manifest.json"]  # says when and with what it was written
    return files
