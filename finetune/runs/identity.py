"""What a run is, as hashes: a checkpoint that says another one does not belong to the run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from finetune.runs.changes import digest

if TYPE_CHECKING:
    from finetune.runs.folder import RunFolder

NAMES = {
    "configuration_sha256": "configuration",
    "data_sha256": "data",
    "base_sha256": "base model",
}

PICKLE = "optimizer.pt"
"""What checkpoints of early versions hold beside the weights; a pickle is never opened."""


def identity(run: RunFolder) -> dict[str, Any]:
    """Return what a checkpoint's manifest says of the run that wrote it, as plain values.

    Read from the run's manifest, which is complete once the data are prepared; a part that is not
    known yet is None. Costs a few milliseconds: nothing is hashed but text.
    """
    manifest = run.manifest()
    configuration = manifest.get("configuration")
    attempt = (manifest.get("attempts") or [{}])[-1]
    return {
        "configuration_sha256": None if configuration is None else digest(configuration),
        "data_sha256": of_hashes((manifest.get("data") or {}).get("files")),
        "base_sha256": of_hashes((manifest.get("base_model") or {}).get("sha256")),
        "world_size": attempt.get("world_size"),
        "versions": attempt.get("versions") or {},
    }


def of_hashes(hashes: Mapping[str, str] | None) -> str | None:
    """Return one hash of several by name."""
    if not hashes:
        return None
    return hashlib.sha256(json.dumps(dict(hashes), sort_keys=True).encode()).hexdigest()


def stranger(checkpoint: Mapping[str, Any], run: RunFolder) -> str | None:
    """Return why a checkpoint is none that this run can go on from, or None when it is.

    What the run was before a change that `run.allow_changes` let pass is its own too. A
    checkpoint that says nothing of itself, as older ones, is not judged.

    Args:
        checkpoint: Its manifest, as a mapping.
        run: The run that would go on from it.
    """
    if PICKLE in (checkpoint.get("files") or {}):
        return f"an earlier version wrote it, with {PICKLE}, a pickle, which is not opened any more"
    now = identity(run)
    accepted = run.manifest().get("accepted") or []
    other = [
        name
        for key, name in NAMES.items()
        if checkpoint.get(key)
        and now[key]
        and checkpoint[key] != now[key]
        and checkpoint[key] not in accepted
    ]
    return f"it was written with another {' and another '.join(other)}" if other else None
