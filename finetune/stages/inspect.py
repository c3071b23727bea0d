"""Inspect: one training row as the model sees it, decoded, with what carries loss marked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from finetune.config.schema import RunConfig
from finetune.errors import ConfigError, did_you_mean
from finetune.runs import storage
from finetune.runs.folder import RunFolder
from finetune.stages import base_model, splits
from finetune.tasks.base import Features, Task

OPEN, CLOSE = "⟦", "⟧"
"""Stand around tokens that carry loss."""


def inspect(run: RunFolder, config: RunConfig, *, row: str | None = None) -> Iterator[str]:
    """Yield lines that show a training row.

    Args:
        run: A run whose data are prepared.
        config: Its configuration.
        row: Id of the row; the first one when None.

    Raises:
        ConfigError: The run has no prepared data, no model, or no such row.
    """
    task: Task = config.task
    if not run.is_done("prepare") or not config.task.trains:
        raise ConfigError(
            f"`{run.path}` has no rows for a model to see.",
            fix="Prepare the data with a recipe that has a task: python -m finetune prepare …",
        )
    train = splits.read(run, "train")
    ids = list(train["id"])
    if row is not None and row not in ids:
        raise ConfigError(f"The training rows have no `{row}`{did_you_mean(row, ids[:10_000])}.")
    place = 0 if row is None else ids.index(row)
    task.load_processor(base_model.resolve(config).folder)
    task.learn(storage.read_json(run.data / "audit.json"))
    shown = splits.as_rows(train[place : place + 1])[0]
    yield f"row      {shown['id']}"
    yield from described(task, task.encode([shown])[0])


def described(task: Task, features: Features) -> Iterator[str]:
    """Yield what the model reads and what it is taught, in words."""
    tokenizer = getattr(task.processor, "tokenizer", task.processor)
    ids, labels = features.get("input_ids"), features.get("labels")
    for name, value in features.items():
        if getattr(value, "shape", None) is not None and name not in ("input_ids", "labels"):
            yield f"{name:<8} {' × '.join(str(size) for size in value.shape)} numbers"
    if ids is not None:
        yield f"tokens   {len(ids)} of {features.get('n_tokens', len(ids))}"
    if ids is not None and isinstance(labels, list) and len(labels) == len(ids):
        trained = sum(label != -100 for label in labels)
        yield f"trained  {trained} tokens, between {OPEN} and {CLOSE}"
        yield marked(tokenizer, ids, labels)
        return
    if ids is not None:
        yield f"reads    {tokenizer.decode(ids)}"
    if isinstance(labels, list):
        kept = [label for label in labels if label != -100]
        yield f"trained  {len(kept)} tokens: {OPEN}{tokenizer.decode(kept)}{CLOSE}"
    elif labels is not None:
        yield f"trained  {OPEN}{task.labels[int(labels)]}{CLOSE}"
    else:
        yield f"trained  {OPEN}to belong together{CLOSE}"


def marked(tokenizer: Any, ids: Sequence[int], labels: Sequence[int]) -> str:
    """Decode tokens with marks around each stretch that carries loss."""
    pieces: list[str] = []
    start = 0
    for place in range(1, len(ids) + 1):
        if place == len(ids) or (labels[place] == -100) != (labels[start] == -100):
            text = tokenizer.decode(ids[start:place])
            pieces.append(text if labels[start] == -100 else f"{OPEN}{text}{CLOSE}")
            start = place
    return "".join(pieces)
