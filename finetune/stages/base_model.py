"""Find the base model and check it before anything of it is read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from finetune.config.schema import RunConfig
from finetune.models import source
from finetune.models.load import LoadOptions, Quantization
from finetune.models.safetensors_header import tensor_names
from finetune.models.source import BaseModel
from finetune.runs.changes import Change
from finetune.runs.folder import RunFolder


def resolve(config: RunConfig) -> BaseModel:
    """Return the base model's folder with its revision and hashes.

    Raises:
        HubError: It can't be had.
        ArtefactError: It is refused.
    """
    model = config.model
    return source.resolve(
        model.name_or_path,
        revision=model.revision,
        mirror=model.mirror,
        sha256=model.sha256,
        license=model.license,
    )


def record(run: RunFolder, base: BaseModel) -> None:
    """Write which base model it is into the manifest."""
    known = run.manifest().get("base_model", {})
    facts = {
        "name_or_path": base.name_or_path,
        "revision": base.revision,
        "license": base.license,
        "sha256": dict(base.sha256),
        "parameters": sum(math.prod(info.shape) for info in tensor_names(base.folder).values()),
    }
    run.record(base_model={**known, **facts})


def changes(known: Mapping[str, Any], base: BaseModel) -> list[Change]:
    """Return by file how a base model differs from the recorded one; its bytes decide.

    Another revision, or a mirror, with the same files is the same base model.
    """
    old, new = known.get("sha256") or {}, base.sha256
    absent = "not there"
    pairs = [(n, old.get(n), new.get(n)) for n in sorted(old.keys() | new.keys())] if old else []
    found = [
        Change(f"model: {name}", *(f"sha256 {value}" if value else absent for value in (was, now)))
        for name, was, now in pairs
        if was != now
    ]
    if found and known.get("revision") != base.revision:
        found.append(Change("model: revision", known.get("revision"), base.revision))
    return found


def options(
    config: RunConfig, *, device: str, dtype: str = "float32", quantized: bool = False
) -> LoadOptions:
    """Return how to load the base for a purpose.

    Args:
        config: The run.
        device: Where to.
        dtype: Floating-point type of the weights.
        quantized: Whether to quantise as the strategy says.
    """
    wanted: Any = getattr(config.strategy, "quantization", None) if quantized else None
    return LoadOptions(
        dtype=dtype,
        device=device,
        attn_implementation=config.model.attn_implementation,
        dropout=config.model.dropout,
        quantization=Quantization(wanted.bits, wanted.quant_type, wanted.double_quant)
        if wanted
        else None,
        seed=config.seed,
    )
