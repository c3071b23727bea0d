"""Lengths: what is too long, what is done about it, and what that costs; never silent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from finetune.errors import ConfigError, DataError
from finetune.models.processor import token_limit
from finetune.stages import splits
from finetune.stages.distribution import histogram, padding
from finetune.tasks.base import Features, Task

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

SECONDS_OF_A_WINDOW = 30.0
"""What a Whisper-style encoder hears at once."""
NO_ANSWER = "has no answer left within the model's length"
LONG, UNHEARD = "is longer than the model takes", "has more sound than the model hears at once"
Through = Callable[[Iterator[list[Features]]], Iterator[list[Features]]]


@dataclass
class Measures:
    """What is known of the length of each row of a split; -1 or NaN where nothing is.

    Args:
        tokens: Tokens before anything is cut.
        kept: Tokens that the model takes.
        targets: Tokens to be produced.
        seconds: Of sound.
        overlong: Whether the row is longer than the model takes.
        trainable: Whether any token carries loss.
    """

    tokens: npt.NDArray[np.int64]
    kept: npt.NDArray[np.int64]
    targets: npt.NDArray[np.int64]
    seconds: npt.NDArray[np.float64]
    overlong: npt.NDArray[np.bool_]
    trainable: npt.NDArray[np.bool_]


def measure(task: Task, dataset: Any, through: Through | None = None) -> Measures:
    """Measure every row of a split, handing pieces of model inputs to `through` as they come."""
    import numpy as np

    pieces = (task.measure(piece) for piece in splits.in_pieces(dataset))
    parts = [
        np.array([_row(features) for features in piece], dtype=np.float64)
        for piece in (pieces if through is None else through(pieces))
    ]
    table = np.concatenate(parts) if parts else np.zeros((0, 6))
    return Measures(
        tokens=table[:, 0].astype(np.int64),
        kept=table[:, 1].astype(np.int64),
        targets=table[:, 2].astype(np.int64),
        seconds=table[:, 3],
        overlong=table[:, 4].astype(bool),
        trainable=table[:, 5].astype(bool),
    )


def _row(features: Features) -> tuple[int, int, int, float, bool, bool]:
    tokens, kept = features.get("n_tokens", -1), features.get("length", -1)
    labels = features.get("labels")
    listed = isinstance(labels, list)
    targets = features.get("target_tokens", len(labels) if listed and labels is not None else -1)
    trainable = not listed or any(label != -100 for label in labels or ())
    overlong = features.get("overlong", tokens > kept)
    return tokens, kept, targets, features.get("seconds", float("nan")), overlong, trainable


def apply(
    task: Task,
    datasets: dict[str, Any],
    policy: str,
    *,
    seed: int = 0,
    through: Mapping[str, Through] = MappingProxyType({}),
) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
    """Apply `data.on_overlength`, drop untrainable training rows, and count what is lost.

    Args:
        task: Measures rows.
        datasets: The splits.
        policy: `truncate`, `drop`, `split` (training rows into several) or `error`.
        seed: Of the order in which padding is estimated.
        through: By split, what its pieces of model inputs pass through.

    Returns:
        The splits, the audit's ``tokens``, and the dropped and divided rows for the quarantine.

    Raises:
        ConfigError: The task's rows cannot be divided.
        DataError: A row is too long and that is an error, or no row carries loss.
    """
    measured = {name: measure(task, part, through.get(name)) for name, part in datasets.items()}
    if policy == "error":
        refuse_overlong(datasets, measured)
    divided: list[dict[str, Any]] = []
    if policy == "split" and measured["train"].overlong.any():
        datasets, divided = _divide(task, datasets, measured["train"])
        before = measured["train"]
        measured["train"] = measure(task, datasets["train"])
    else:
        before = measured["train"]
    train = measured["train"]
    if len(train.trainable) and not train.trainable.any():
        raise DataError(
            "No training row has a token that carries loss.",
            fix="Check that the answers are in the column that data.columns names, and that "
            "task.max_length does not cut them off.",
        )
    kept, stay, out = dict[str, Any](), dict[str, Any](), list[dict[str, Any]]()
    for name, dataset in datasets.items():
        sizes = measured[name]
        long = sizes.overlong if policy == "drop" else sizes.overlong & False
        empty = ~sizes.trainable if name == "train" else sizes.trainable & False
        stay[name] = ~(long | empty)
        by_tokens = long & (sizes.tokens > sizes.kept)
        kept[name], left = _without(dataset, stay[name], long, by_tokens)
        out += left
    tokens = summary(task, measured, stay, policy, seed=seed)
    if divided:
        tokens["divided_rows"] = int(before.overlong.sum())
    return kept, tokens, [*divided, *out]


def refuse_overlong(datasets: dict[str, Any], measured: dict[str, Measures]) -> None:
    """Raise for rows that are longer than the model takes, with the first of them."""
    import numpy as np

    places = [
        str(datasets[name][int(row)]["id"])
        for name, sizes in measured.items()
        for row in np.flatnonzero(sizes.overlong)[:5]
    ]
    if places:
        count = sum(int(sizes.overlong.sum()) for sizes in measured.values())
        raise DataError(
            f"{count:,} row{'s are' if count > 1 else ' is'} longer than the model takes, such as "
            f"{', '.join(places[:5])}.",
            fix="Raise task.max_length (recordings: none is heard beyond the encoder's window), "
            "shorten the rows, or set data.on_overlength=truncate, drop or split.",
        )


def _without(
    dataset: Any, stays: Any, long: Any, by_tokens: Any
) -> tuple[Any, list[dict[str, Any]]]:
    import numpy as np

    if stays.all():
        return dataset, []
    out = []
    for row in np.flatnonzero(~stays).tolist():
        reason = LONG if by_tokens[row] else UNHEARD if long[row] else NO_ANSWER
        entry = {"id": str(dataset[row]["id"]), "step": "lengths", "column": None}
        out.append({**entry, "reason": reason})
    return dataset.select(np.flatnonzero(stays)), out


def _divide(
    task: Task, datasets: dict[str, Any], sizes: Measures
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Cut each training row that is too long into several, none of which is."""
    from datasets import Dataset

    column = getattr(task, "divisible", None)
    if column is None:
        raise ConfigError(
            f"`data.on_overlength=split` is not for {task.tag}: an answer belongs to its whole "
            "input, not to a part of it.",
            fix="Use truncate, drop or error.",
        )
    limit = task.limit()  # type: ignore[attr-defined] # a task whose rows can be divided has one
    train, divided = datasets["train"], []
    overlong = sizes.overlong.tolist()

    def rows() -> Iterator[dict[str, Any]]:
        start = 0
        for piece in splits.in_pieces(train):
            for offset, row in enumerate(piece):
                if not overlong[start + offset]:
                    yield dict(row)
                    continue
                parts = pieces(task.processor, str(row[column]), limit)
                for number, part in enumerate(parts, 1):
                    yield {**row, column: part, "id": f"{row['id']}/{number}"}
            start += len(piece)

    table = train.data.table
    made = Dataset.from_list(list(rows()), features=Dataset(table.slice(0, 0)).features)
    for row, long in enumerate(overlong):
        if long:
            entry = {"id": str(train[row]["id"]), "step": "lengths", "column": column}
            divided.append({**entry, "reason": "was divided", "before": train[row][column]})
    return {**datasets, "train": made}, divided


def pieces(tokenizer: Any, text: str, limit: int) -> list[str]:
    """Cut a text where tokens end, so that each part has at most so many with special tokens.

    Args:
        tokenizer: Knows where in the text each token stands.
        text: The text.
        limit: Most tokens of a part, special ones included.

    Returns:
        Parts that together are the text, blanks between them aside.
    """
    special = tokenizer.num_special_tokens_to_add()
    size = max(1, limit - special)
    found = tokenizer(
        text, add_special_tokens=False, return_offsets_mapping=True, verbose=False
    )["offset_mapping"]  # fmt: skip
    starts = [found[index][0] for index in range(0, len(found), size)]
    bounds = [0, *starts[1:], len(text)]
    parts = [text[bounds[i] : bounds[i + 1]].strip() for i in range(len(bounds) - 1)]
    return [part for part in parts if part]


def summary(
    task: Task, measured: dict[str, Measures], stay: dict[str, Any], policy: str, *, seed: int
) -> dict[str, Any]:
    """Return the audit's ``tokens``."""
    import numpy as np

    every = np.concatenate([sizes.tokens for sizes in measured.values()])
    known = every[every >= 0]
    lost = truncated = unheard = 0
    window = getattr(task, "seconds", lambda: None)()
    for name, sizes in measured.items():
        cut = sizes.overlong & stay[name]
        unheard += int((sizes.seconds > window)[cut].sum()) if window else 0
        cut &= sizes.tokens > sizes.kept
        truncated += int(cut.sum()) if policy in ("truncate", "split") else 0
        lost += int(np.maximum(0, sizes.tokens - sizes.kept)[cut].sum())
    train = measured["train"]
    targets = train.targets[train.targets >= 0]
    limit = getattr(task, "limit", lambda: None)()
    if limit is None and task.processor is not None:
        limit = token_limit(task.processor)
    p50, p95 = np.percentile(known, [50, 95]).astype(int).tolist() if len(known) else (0, 0)
    tokens: dict[str, Any] = {
        "p50": p50,
        "p95": p95,
        "max": int(known.max(initial=0)),
        "limit": limit,
        "target_max": int(targets.max()) if len(targets) else None,
        "truncated_rows": truncated,
        "tokens_lost": lost,
        "untrainable_rows": int((~train.trainable).sum()),
        "histogram": histogram(known),
        "padding": padding(train.kept[train.kept >= 0], seed=seed),
    }
    answerless = {
        name: int((~sizes.trainable & stay[name]).sum())
        for name, sizes in measured.items()
        if name != "train"
    }
    if any(answerless.values()):
        tokens["answerless_rows"] = answerless
    seconds = np.concatenate([sizes.seconds for sizes in measured.values()])
    seconds = seconds[np.isfinite(seconds)]
    if len(seconds):
        tokens["audio_seconds"] = {
            "total": round(float(seconds.sum()), 1),
            "p50": round(float(np.median(seconds)), 2),
            "longest": round(float(seconds.max()), 2),
            "beyond_30": int((seconds > SECONDS_OF_A_WINDOW).sum()),
            "window": window,
            "unheard_rows": unheard,
        }
    return tokens
