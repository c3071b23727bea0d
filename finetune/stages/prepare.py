"""Prepare: from the user's files to three splits on disk, an audit, and encoded rows."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from finetune.config.schema import RunConfig
from finetune.errors import DataError
from finetune.models.source import BaseModel
from finetune.runs import storage
from finetune.runs.folder import RunFolder
from finetune.stages import lengths, splits, tokens
from finetune.stages.prepared import hashes
from finetune.tasks.base import Features, Task

READING = ("format", "name", "revision", "encoding", "delimiter", "header", "sheet", "query")
"""Keys of `data` that say how files are read."""
ENCODED = ("train", "validation")
"""Splits whose model inputs are kept."""


def prepare(run: RunFolder, config: RunConfig, base: BaseModel | None, *, rows: Any = None) -> None:
    """Write data/ of a run.

    Args:
        run: The run folder.
        config: The run.
        base: Its tokenizer measures the rows; None when the data alone are prepared.
        rows: Rows given through the Python API instead of `data.path`.

    Raises:
        DataError: The data cannot be used as asked.
    """
    task: Task = config.task
    storage.remove_tree(run.data)  # what an attempt that was broken off left
    prepared, origin = read_data(config, rows)
    audit = dict(prepared.audit)
    if base is not None:
        task.load_processor(base.folder)
    task.learn(audit)
    kept, quarantine = prepared.splits, list(prepared.quarantine)
    if config.data.synthesize.model:
        kept = add_synthetic(config, kept, audit, quarantine)
    before = sum(len(dataset) for dataset in kept.values())
    whole, through = kept, encoding_once(run, config, kept)
    kept, audit["tokens"], out = lengths.apply(
        task, kept, config.data.on_overlength, seed=config.seed, through=through
    )
    if not any(audit["tokens"][key] for key in ("max", "audio_seconds") if key in audit["tokens"]):
        audit["tokens"] = None  # no model was named, so nothing could be measured
    count(audit, before, kept, out)
    if not len(kept["train"]):
        raise DataError(
            "No training row is left after preparing the data.",
            fix="Look at what data.clean drops and what data.split gives to the other splits; "
            "data.clean=as_is drops nothing.",
        )
    task.learn(audit)
    splits.write(run, kept)
    if config.data.synthesize.model or any(kept[name] is not whole[name] for name in whole):
        through = {}  # labels and rows may be others now
        storage.remove_tree(splits.encoded_file(run, "train").parent)
    for name in ENCODED:
        if not task.lazy and name not in through:
            splits.write_encoded(run, name, encoded(task, kept[name]))
    storage.write_jsonl(run.data / "quarantine.jsonl", [*quarantine, *out])
    storage.write_json(run.data / "audit.json", audit)
    facts = {"fingerprints": dict(prepared.fingerprints), "rows": audit["splits"], **origin}
    run.record(data={**facts, "files": hashes(run)})


def read_data(config: RunConfig, rows: Any) -> tuple[Any, dict[str, Any]]:
    """Run the data layer with the run's settings; return what it made and where that is from."""
    from finetune.data import fingerprint
    from finetune.data.cached import prepare_cached, source_hashes
    from finetune.data.prepare import prepare as prepare_data

    settings = settings_of(config, rows)
    hashed = source_hashes(settings)
    sources = fingerprint.of(settings, hashed)  # before reading, so that a later change is seen
    origin = {"sources": sources.parts, "not_verifiable": sources.not_verifiable}
    if not config.data.cache:
        return prepare_data(**settings), {"cache": "not used", **origin}
    prepared, hashed, known = prepare_cached(settings, hashed)
    return prepared, {"cache": "used" if known else "made", "sha256": hashed, **origin}


def settings_of(config: RunConfig, rows: Any) -> dict[str, Any]:
    """Return what the data layer is told, as plain values."""
    from finetune.data.prepare import SplitOptions

    data = config.data
    split = asdict(data.split)
    together = split.pop("near_duplicates") == "together"
    clean = asdict(data.clean)
    if data.deduplicate:
        clean["exact_duplicates"]["action"] = "drop"
    return {
        "kinds": config.task.columns,
        "path": None if rows is not None else data.path,
        "train": data.train,
        "validation": data.validation,
        "test": data.test,
        "mix": data.mix,
        "rows": rows,
        "reading": {key: getattr(data, key) or None for key in READING},
        "columns": data.columns,
        "fill": data.fill,
        "keep": tuple(dict.fromkeys([*data.slices, *data.keep])),
        "on_invalid": data.on_invalid,
        "clean": clean,
        "split": SplitOptions(**split, near_duplicates=together, seed=config.seed),
        "max_rows": data.max_rows,
        "leakage": data.leakage,
        "unseen_labels": data.unseen_labels,
    }


def encoding_once(
    run: RunFolder, config: RunConfig, kept: dict[str, Any]
) -> dict[str, lengths.Through]:
    """Return, by split, what keeps model inputs that are made to be measured, where they are."""
    task: Task = config.task
    if task.lazy or type(task).measure is not Task.measure:
        return {}
    most = config.train.frozen_cache_gb if config.data.cache else 0.0
    return {
        name: functools.partial(tokens.through, run, task, name, kept[name], most)
        for name in ENCODED
    }


def encoded(task: Task, dataset: Any) -> Iterator[list[Features]]:
    """Yield the encoded rows of a split in pieces."""
    for rows in splits.in_pieces(dataset):
        yield task.encode(rows)


def add_synthetic(
    config: RunConfig,
    datasets: dict[str, Any],
    audit: dict[str, Any],
    quarantine: list[dict[str, Any]],
) -> dict[str, Any]:
    """Add rows that a local model makes up to the training rows, and say so."""
    from datasets import Dataset

    from finetune.stages import synthesis

    made = synthesis.add(config, {name: part.data.table for name, part in datasets.items()})
    audit["synthetic"] = made.audit
    quarantine += made.quarantine
    return {**datasets, "train": Dataset(made.table)}


def count(
    audit: dict[str, Any], before: int, kept: dict[str, Any], out: list[dict[str, Any]]
) -> None:
    """Bring the audit's counts up to what is left after lengths were looked at."""
    from finetune.data.audit import class_counts

    rows = audit["rows"]
    left = sum(len(dataset) for dataset in kept.values())
    dropped = [entry for entry in out if "before" not in entry]
    not_drawn = rows["read"] - rows["kept"] - rows["dropped"]
    audit["rows"] = {
        **rows, "kept": left, "dropped": rows["dropped"] + len(dropped), "not_drawn": not_drawn
    }  # fmt: skip
    audit["splits"] = {name: len(dataset) for name, dataset in kept.items()}
    if audit.get("classes") and "label" in kept["train"].column_names:
        audit |= class_counts({name: list(part["label"]) for name, part in kept.items()})
    if left != before:
        audit["steps"] = [
            *audit["steps"], {"name": "lengths", "rows_in": before, "rows_out": left}
        ]  # fmt: skip
        audit["messages"] = [*audit["messages"], *reasons(dropped)]


def reasons(out: list[dict[str, Any]]) -> list[str]:
    """Return a sentence for each reason for which rows were dropped."""
    counts: dict[str, int] = {}
    for entry in out:
        counts[entry["reason"]] = counts.get(entry["reason"], 0) + 1
    return [
        f"Dropped: {count} row{'s' * (count > 1)}, each of which {reason} (data/quarantine.jsonl)."
        for reason, count in counts.items()
    ]
