"""Predict: the rows of a file answered by a finished run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from finetune.config.schema import RunConfig
from finetune.errors import ConfigError
from finetune.models.load import LoadOptions
from finetune.runs import storage
from finetune.runs.folder import RunFolder
from finetune.stages import devices, splits
from finetune.tasks.base import Prediction, Row, Task


class Predictor:
    """The exported model of a run, raw rows in, answers out.

    Args:
        run: A run whose export has finished.
        config: Its configuration.
    """

    def __init__(self, run: RunFolder, config: RunConfig) -> None:
        if not run.is_done("export"):
            raise ConfigError(
                f"`{run.path}` has no exported model yet.",
                fix=f"Finish it first: python -m finetune run={run.path}",
            )
        self.task: Task = config.task
        device = devices.choose(config.train.device, "fp32").name
        self.task.load_processor(run.merged)
        self.task.learn(storage.read_json(run.data / "audit.json"))
        dtype = run.manifest()["stages"]["export"]["dtype"]
        self.model = self.task.load_model(run.merged, LoadOptions(dtype=dtype, device=device)).model

    def __call__(self, rows: Sequence[Row | Any], *, batch_size: int = 32) -> list[Prediction]:
        """Answer rows: mappings of canonical columns, or bare inputs of the first column."""
        first = next(iter(self.task.columns))
        named = [row if isinstance(row, Mapping) else {first: row} for row in rows]
        return self.task.predict(self.model, named, batch_size=batch_size)


READING = ("format", "encoding", "delimiter", "header", "sheet", "query")
"""Keys of `data` that say how a file of rows to be answered is read."""


def predict_file(run: RunFolder, config: RunConfig, file: str) -> Iterator[str]:
    """Yield a JSON line for each row of a file: its id, the answer, the score."""
    from finetune.data.inputs import read_inputs

    predictor = Predictor(run, config)
    data = config.data
    rows = read_inputs(
        file,
        kinds=config.task.columns,
        columns=data.columns,
        reading={
            "format": data.format if data.format != "hub" else None,
            **{key: getattr(data, key) or None for key in READING[1:]},
        },
        on_invalid=data.on_invalid,
    )
    size = config.evaluate.batch_size
    for piece in splits.in_pieces(rows, size * 8):
        for row, given in zip(piece, predictor(piece, batch_size=size), strict=True):
            line = {"id": row["id"], "prediction": given.value, "score": given.score}
            yield json.dumps(storage.strict(line), ensure_ascii=False)
