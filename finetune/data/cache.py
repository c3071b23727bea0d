"""Prepared data kept by content: the same files and settings are prepared once, on one machine.

An entry is a folder named by a hash of the files' bytes, the settings and this package's own code.
It is complete or absent (written under another name, synced, renamed), and each of its files is
compared with its recorded hash before it is used; one that differs is made anew.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.runs import storage

if TYPE_CHECKING:
    from finetune.data.prepare import Prepared

ENTRIES = 20
"""Entries kept; the one that was used longest ago goes first."""
MANIFEST = "manifest.json"


def folder() -> Path:
    """Return where entries are kept: `FINETUNE_CACHE`, or the user's cache folder."""
    chosen = os.environ.get("FINETUNE_CACHE")
    if chosen:
        return Path(chosen) / "prepared"
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "finetune" / "prepared"


def source_hashes(paths: Sequence[Path]) -> dict[str, str]:
    """Return the sha256 of every file that paths name, folders with all that is in them.

    Args:
        paths: Files and folders that exist.

    Returns:
        Hashes by name; names are relative to the path's parent, so that a moved file is the same.
    """
    found: dict[str, str] = {}
    for path in paths:
        files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
        for file in files:
            found[file.relative_to(path.parent).as_posix()] = storage.sha256(file)
    return found


def key_of(hashes: Mapping[str, str], settings: Mapping[str, Any]) -> str:
    """Return the name of an entry: what was read, how it is prepared, and by which code."""
    told = json.dumps([hashes, settings, _code()], sort_keys=True, default=repr)
    return hashlib.sha256(told.encode()).hexdigest()


@cache
def _code() -> str:
    """Return a hash of the data layer's own source, so that a changed step is a changed result."""
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def load(key: str) -> Prepared | None:
    """Return what was prepared before under this key; None when there is no sound entry."""
    from datasets import Dataset

    from finetune.data.prepare import Prepared

    entry = folder() / key
    try:
        hashes = storage.read_json(entry / MANIFEST)
        if any(storage.sha256(entry / name) != known for name, known in hashes.items()):
            return None
        facts = storage.read_json(entry / "facts.json")
        splits = {
            split: Dataset.from_file(str(entry / f"{split}.arrow")) for split in facts["splits"]
        }
        quarantine = storage.read_jsonl(entry / "quarantine.jsonl")
        os.utime(entry)  # what was used last is kept longest
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Prepared(
        splits=splits,
        audit=facts["audit"],
        fingerprints=facts["fingerprints"],
        quarantine=quarantine,
    )


def store(key: str, prepared: Prepared) -> None:
    """Keep what was prepared; a cache that cannot be written costs nothing but time."""
    import pyarrow as pa

    from finetune.errors import StorageError

    entry = folder() / key
    try:
        with storage.staged_folder(entry) as staging:
            for split, dataset in prepared.splits.items():
                table = dataset.data.table
                with pa.ipc.new_stream(str(staging / f"{split}.arrow"), table.schema) as writer:
                    writer.write_table(table)
            storage.write_jsonl(staging / "quarantine.jsonl", prepared.quarantine)
            facts = {
                "splits": list(prepared.splits),
                "audit": prepared.audit,
                "fingerprints": prepared.fingerprints,
            }
            storage.write_json(staging / "facts.json", facts)
            hashes = {file.name: storage.sha256(file) for file in sorted(staging.iterdir())}
            storage.write_json(staging / MANIFEST, hashes)
        _forget_oldest()
    except (OSError, StorageError):
        return


def _forget_oldest() -> None:
    entries = [entry for entry in folder().iterdir() if (entry / MANIFEST).is_file()]
    entries.sort(key=lambda entry: entry.stat().st_mtime, reverse=True)
    for entry in entries[ENTRIES:]:
        storage.remove_tree(entry)
