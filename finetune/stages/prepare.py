"""Prepare: from the user's files to three splits on disk, an audit, and encoded rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from finetune.config.schema import RunConfig
from finetune.errors import DataError
from finetune.models.processor import token_limit
from finetune.models.source import BaseModel
from finetune.runs import storage
from finetune.runs.folder import RunFolder
from finetune.stages import splits
from finetune.tasks.base import Features, Task


def prepare(run: RunFolder, config: RunConfig, base: BaseModel, *, rows: Any = None) -> None:
    """Write data/ of a run.

    Args:
        run: The run folder.
        config: The run.
        base: Its tokenizer measures the rows.
        rows: Rows given through the Python API instead of `data.path`.

    Raises:
        DataError: The data cannot be used as asked.
    """
    task: Task = config.task
    prepared = read_data(config, rows)
    audit = dict(prepared.audit)
    task.load_processor(base.folder)
    task.learn(audit)
    kept = prepared.splits
    measured = {name: measure(task, dataset) for name, dataset in kept.items()}
    kept, tokens, out = apply_lengths(task, kept, measured, config.data.on_overlength)
    audit["tokens"] = tokens
    dropped = len(out)
    not_drawn = audit["rows"]["read"] - audit["rows"]["kept"] - audit["rows"]["dropped"]
    audit["rows"] = {**audit["rows"], "not_drawn": not_drawn}
    if dropped:
        audit["rows"] = {
            **audit["rows"],
            "kept": sum(len(d) for d in kept.values()),
            "dropped": audit["rows"]["dropped"] + dropped,
        }
        audit["steps"] = [
            *audit["steps"],
            {
                "name": "lengths",
                "rows_in": audit["rows"]["kept"] + dropped,
                "rows_out": audit["rows"]["kept"],
            },
        ]
        audit["messages"] = [*audit["messages"], *reasons(out)]
    audit["splits"] = {name: len(dataset) for name, dataset in kept.items()}
    if not len(kept["train"]):
        raise DataError(
            "No training row is left after preparing the data.",
            fix="See data/audit.json for what each step dropped.",
        )
    task.learn(audit)
    splits.write(run, kept)
    if not task.lazy:
        for name in ("train", "validation"):
            splits.write_encoded(run, name, encoded(task, kept[name]))
    storage.write_jsonl(run.data / "quarantine.jsonl", [*prepared.quarantine, *out])
    storage.write_json(run.data / "audit.json", audit)
    run.record(data={"fingerprints": dict(prepared.fingerprints), "rows": audit["splits"]})


def read_data(config: RunConfig, rows: Any) -> Any:
    """Run the data layer with the run's settings."""
    from finetune.data.prepare import SplitOptions
    from finetune.data.prepare import prepare as prepare_data

    data = config.data
    split = data.split
    return prepare_data(
        kinds=config.task.columns,
        path=None if rows is not None else data.path,
        train=data.train,
        validation=data.validation,
        test=data.test,
        rows=rows,
        format=data.format,
        name=data.name,
        revision=data.revision,
        encoding=data.encoding,
        delimiter=data.delimiter,
        columns=data.columns,
        keep=tuple(dict.fromkeys([*data.slices, *data.keep])),
        on_invalid=data.on_invalid,
        deduplicate=data.deduplicate,
        split=SplitOptions(
            train=split.train,
            validation=split.validation,
            test=split.test,
            stratify=split.stratify,
            group_by=split.group_by,
            seed=config.seed,
        ),
        max_rows=data.max_rows,
        leakage=data.leakage,
    )


def encoded(task: Task, dataset: Any) -> Iterator[list[Features]]:
    """Yield the encoded rows of a split in pieces."""
    for rows in splits.in_pieces(dataset):
        yield task.encode(rows)


def measure(task: Task, dataset: Any) -> list[Features]:
    """Return the bookkeeping of every row, without its model inputs."""
    wanted = ("length", "n_tokens", "target_tokens", "seconds", "overlong")
    found = []
    for rows in splits.in_pieces(dataset):
        for features in task.measure(rows):
            item = {key: features[key] for key in wanted if key in features}
            item.setdefault("overlong", item.get("n_tokens", 0) > item.get("length", 0))
            labels = features.get("labels")
            item["trainable"] = not isinstance(labels, list) or any(
                label != -100 for label in labels
            )
            if "target_tokens" not in item and isinstance(labels, list):
                item["target_tokens"] = len(labels)
            found.append(item)
    return found


def apply_lengths(
    task: Task, datasets: dict[str, Any], measured: dict[str, list[Features]], policy: str
) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
    """Apply `data.on_overlength`, drop untrainable training rows, and count what is lost.

    Returns:
        The splits, the audit's ``tokens``, and the dropped rows as the quarantine holds them.
    """
    import numpy as np

    everything = [item for items in measured.values() for item in items]
    over = [item for item in everything if item["overlong"]]
    if over and policy == "error":
        names = [
            str(datasets[name][row]["id"])
            for name, items in measured.items()
            for row, item in enumerate(items)
            if item["overlong"]
        ]
        raise DataError(
            f"{len(over)} rows are longer than the model takes, such as {', '.join(names[:5])}.",
            fix="Raise task.max_length, shorten the rows, or set data.on_overlength=truncate "
            "or drop.",
        )
    untrainable = sum(not item["trainable"] for item in measured["train"])
    if untrainable and untrainable == len(measured["train"]):
        raise DataError(
            "No training row has a token that carries loss.",
            fix="Check that the answers are in the column that data.columns names, and that "
            "task.max_length does not cut them off.",
        )
    kept: dict[str, Any] = {}
    out: list[dict[str, Any]] = []
    stay: list[Features] = []
    for name, dataset in datasets.items():
        places = []
        for row, item in enumerate(measured[name]):
            if policy == "drop" and item["overlong"]:
                reason = "is longer than the model takes"
            elif name == "train" and not item["trainable"]:
                reason = "has no answer left within the model's length"
            else:
                places.append(row)
                stay.append(item)
                continue
            entry = {"id": str(dataset[row]["id"]), "step": "lengths", "column": None}
            out.append({**entry, "reason": reason})
        kept[name] = dataset.select(places) if len(places) < len(dataset) else dataset
    over = [item for item in stay if item["overlong"]]
    lengths = [item["n_tokens"] for item in everything if "n_tokens" in item] or [0]
    targets = [item["target_tokens"] for item in measured["train"] if "target_tokens" in item]
    p50, p95 = (int(value) for value in np.percentile(lengths, [50, 95]))
    limit = getattr(task, "limit", lambda: None)() or token_limit(task.processor)
    tokens = {
        "p50": p50,
        "p95": p95,
        "max": max(lengths),
        "limit": limit,
        "target_max": max(targets) if targets else None,
        "truncated_rows": len(over) if policy == "truncate" else 0,
        "tokens_lost": sum(
            max(0, item.get("n_tokens", 0) - item.get("length", 0)) for item in over
        ),
        "untrainable_rows": untrainable,
    }
    seconds = [item["seconds"] for item in everything if "seconds" in item]
    if seconds:
        tokens["audio_seconds"] = {
            "total": round(sum(seconds), 1),
            "longest": round(max(seconds), 2),
        }
    return kept, tokens, out


def reasons(out: list[dict[str, Any]]) -> list[str]:
    """Return a sentence for each reason for which rows were dropped."""
    counts: dict[str, int] = {}
    for entry in out:
        counts[entry["reason"]] = counts.get(entry["reason"], 0) + 1
    return [
        f"Dropped: {count} row{'s' * (count > 1)}, each of which {reason} (data/quarantine.jsonl)."
        for reason, count in counts.items()
    ]
