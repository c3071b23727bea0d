"""Model inputs of texts kept between runs: the same rows and tokenizer are tokenised once."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from finetune.errors import StorageError
from finetune.runs import entries, storage
from finetune.runs.folder import RunFolder
from finetune.stages import environment, keeping, splits
from finetune.tasks.base import Features, Task
from finetune.version import __version__

FILE = "encoded.arrow"
LEAST = 5000
"""Rows of a split below which tokenising takes less time than looking for what is kept."""


def through(
    run: RunFolder,
    task: Task,
    split: str,
    dataset: Any,
    gigabytes: float,
    pieces: Iterator[list[Features]],
) -> Iterator[list[Features]]:
    """Pass on model inputs and write them to the run, from what an earlier run kept where it can.

    Args:
        run: The run folder.
        task: Makes the inputs.
        split: Name of the split.
        dataset: Its rows.
        gigabytes: Most that is kept, over all runs.
        pieces: The inputs, made as they are asked for.
    """
    key = key_of(task, dataset) if len(dataset) >= LEAST and gigabytes else None
    if key is None:
        yield from splits.writing(run, split, pieces)
        return
    entry = keeping.folder() / key
    first = next(pieces)
    if entries.is_sound(entry):
        known = read(entry / FILE)
        if len(known) == len(dataset) and same(first, next(in_pieces(known))):
            file = splits.encoded_file(run, split)
            with storage.temporary_file(file) as temporary:
                shutil.copyfile(entry / FILE, temporary)
            yield from in_pieces(known)
            return
        storage.remove_tree(entry)
    yield from splits.writing(run, split, itertools.chain([first], pieces))
    with contextlib.suppress(OSError, StorageError):  # it is a help and no more
        keep(splits.encoded_file(run, split), entry, gigabytes)


def keep(file: Path, entry: Path, gigabytes: float) -> None:
    """Keep a file of model inputs, unless there is no room for it.

    Raises:
        StorageError: The disk is full.
    """
    size, limit = file.stat().st_size, keeping.budget(gigabytes)
    if size > limit:
        return
    entries.make_room(entry.parent, size, limit)
    with entries.making(entry, {"module": "tokens"}, needed=size) as folder:
        shutil.copyfile(file, folder / FILE)


def read(file: Path) -> Any:
    """Return a file of model inputs, mapped."""
    from datasets import Dataset

    return Dataset.from_file(str(file))


def in_pieces(known: Any) -> Iterator[list[Features]]:
    """Yield kept inputs as they were made: null stands for what a row doesn't have."""
    for rows in splits.in_pieces(known):
        yield [{key: value for key, value in row.items() if value is not None} for row in rows]


def same(made: list[Features], known: list[Features]) -> bool:
    """Tell whether inputs are what is made now: code that makes them may have changed."""
    try:
        return bool(made == known)
    except ValueError:  # arrays don't say so in one word
        return False


def key_of(task: Task, dataset: Any) -> str | None:
    """Return the name of an entry: rows, tokenizer, task and versions; None where none can tell."""
    tokenizer: Any = task.processor
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:  # a tokenizer in Python, which does not say all that it does
        return None
    whole = json.loads(backend.to_str())
    for state in ("truncation", "padding"):  # left behind by the last call
        whole.pop(state, None)
    told = [
        *[content(dataset), whole, repr(tokenizer)],
        *[repr(getattr(tokenizer, "chat_template", None)), repr(task)],
        *[__version__, environment.version("transformers"), environment.version("tokenizers")],
    ]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def content(dataset: Any) -> str:
    """Return a hash of a dataset's rows, however they lie in memory."""
    digest = hashlib.sha256()
    for rows in splits.in_pieces(dataset):
        digest.update(json.dumps(rows, default=repr).encode())
    return digest.hexdigest()
