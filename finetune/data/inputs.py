"""Read rows to be answered: the input columns of a task, without splits and without labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.data import media, sources
from finetune.data.canonical import canonicalise, without
from finetune.data.kinds import MEDIA, Kind, is_target
from finetune.data.problems import OnInvalid, Problems

if TYPE_CHECKING:
    import datasets


def read_inputs(
    path: str | Path,
    *,
    kinds: Mapping[str, Kind],
    columns: Mapping[str, str] | None = None,
    reading: Mapping[str, Any] | None = None,
    on_invalid: OnInvalid = "error",
) -> datasets.Dataset:
    """Return the rows of one file or folder with `id` and the canonical columns it has.

    Args:
        path: File or folder.
        kinds: The task's canonical columns; what the model is to produce need not be there.
        columns: Canonical column → source column, as in training; targets are left out where the
            file lacks them.
        reading: How to read: fields of `sources.Reading`, such as format and encoding.
        on_invalid: Whether a row that cannot be answered is an error or left out.

    Raises:
        DataError: The file cannot be read, or lacks an input column.
    """
    from datasets import Dataset, concatenate_datasets
    from datasets.table import InMemoryTable

    wanted = {
        name: replace(kind, required=kind.required and not is_target(name, kinds))
        for name, kind in kinds.items()
    }
    problems = Problems(on_invalid)
    how = sources.Reading(**(reading or {}), problems=problems)
    found = sources.gather(how, None, path, {"train": None, "validation": None, "test": None})
    there = {name for source in found.values() for name in source.table.column_names}
    said = {
        name: source
        for name, source in (columns or {}).items()
        if not is_target(name, kinds) or source in there
    }
    tables, _ = canonicalise(
        found, wanted, said=said, fill={}, keep=(), working={}, problems=problems, messages=[]
    )
    parts: list[Any] = []
    for split, table in tables.items():
        whole = table
        for name, kind in wanted.items():
            if isinstance(kind, MEDIA) and name in whole.column_names:
                ids = whole["id"].to_pylist()
                embedded, reasons = media.embed(whole[name], found[split].root, ids)
                reasons |= media.check_media(embedded, kind)
                problems.add_rows(reasons, ids, step="media", column=name)
                whole = whole.set_column(whole.column_names.index(name), name, embedded)
                whole = without(whole, set(reasons))
        parts.append(Dataset(InMemoryTable(whole)))
    problems.refuse(sum(len(part) for part in parts))
    return concatenate_datasets(parts) if len(parts) > 1 else parts[0]
