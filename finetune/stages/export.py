"""Export: the kept checkpoint to a model that plain transformers loads, compared first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.config.schema import RunConfig
from finetune.errors import GateError
from finetune.models import load as loading
from finetune.models import merge, parity
from finetune.models.source import BaseModel
from finetune.runs import storage
from finetune.runs.folder import RunFolder
from finetune.stages import base_model, splits
from finetune.stages.train import kept_checkpoint
from finetune.tasks.base import Task

if TYPE_CHECKING:
    from torch import nn

QUANTISED_TOLERANCE = 1e-3
"""Of the dequantised weights against the 4-bit kernels that training ran."""


@dataclass(frozen=True)
class Candidate:
    """One way to fold the adapter in."""

    model: nn.Module
    """The plain model."""
    reference: dict[str, Any]
    """Outputs of what was trained, before folding."""
    tolerance: float
    compared: str
    """What was compared with what, in words."""
    merge_base: str | None


def export(run: RunFolder, config: RunConfig, base: BaseModel) -> dict[str, Any]:
    """Write merged/ and adapter/ and return facts for the manifest.

    Raises:
        GateError: The exported model does not compute what was trained.
    """
    task: Task = config.task
    task.load_processor(base.folder)
    task.learn(storage.read_json(run.data / "audit.json"))
    checkpoint = kept_checkpoint(run)
    split = "validation" if run.manifest()["data"]["rows"].get("validation") else "train"
    rows = splits.as_rows(splits.read(run, split, max_rows=config.export.parity_rows)[:])
    dtype = written_type(config, base)

    def inputs(model: nn.Module) -> dict[str, Any]:
        size = getattr(loading.read_config(base.folder), "vocab_size", None) or 1000
        del model
        pieces = [rows[start : start + 8] for start in range(0, len(rows), 8)]
        return parity.inputs_of([task.collate(task.encode(piece)) for piece in pieces], int(size))

    adapter = config.strategy.peft_type is not None
    candidate = (
        fold_adapter(config, base, checkpoint, run, inputs)
        if adapter
        else trained_in_full(config, base, checkpoint, inputs)
    )
    candidate.model.to(dtype=torch_type(dtype))
    if hasattr(candidate.model, "config"):
        tidy_config(candidate.model.config)
    with storage.staged_folder(run.merged) as staging:
        with loading.quiet():
            task.save_model(candidate.model, staging)
        found = parity.outputs_of_folder(staging, task.auto_class, inputs(candidate.model))
        result = parity.compare(candidate.reference, found)
        tolerance = config.export.tolerance or max(candidate.tolerance, parity.TOLERANCES[dtype])
        facts = parity.facts(
            result,
            rows=len(rows),
            tolerance=tolerance,
            compared=candidate.compared,
            merge_base=candidate.merge_base,
        )
        if not result.within(tolerance):
            raise GateError(
                "The exported model differs from the trained one by "
                f"{result.max_abs_difference:.3g} (allowed {tolerance:g} × {result.scale:.3g}) and "
                f"agrees on {result.same_prediction:.1%} of predictions; it is not published.",
                fix="The checkpoint is kept. Set export.tolerance only if you accept the "
                "difference.",
                where=str(run.merged),
            )
    if adapter:
        with storage.staged_folder(run.adapter) as staging:
            merge.publish_adapter(
                checkpoint, staging, base=base.name_or_path, revision=base.revision
            )
    return {
        "parity": facts,
        "dtype": dtype,
        "sha256": {p.name: storage.sha256(p) for p in sorted(run.merged.glob("*.safetensors"))},
    }


def written_type(config: RunConfig, base: BaseModel) -> str:
    """Return the type of the merged weights: as asked, else the base's bfloat16, else float32."""
    if config.export.dtype != "auto":
        return config.export.dtype
    stored = str(getattr(loading.read_config(base.folder), "dtype", None) or "")
    return "bfloat16" if "bfloat16" in stored else "float32"


def torch_type(name: str) -> Any:
    """Return torch's type of a name."""
    import torch

    return getattr(torch, name)


def tidy_config(config: Any) -> None:
    """Remove traces of quantisation and of where the base lay from a configuration."""
    for key in ("quantization_config", "_pre_quantization_dtype"):
        if hasattr(config, key):
            delattr(config, key)
    config._name_or_path = ""


def trained_in_full(
    config: RunConfig, base: BaseModel, checkpoint: Path, inputs: Callable[[Any], dict[str, Any]]
) -> Candidate:
    """Return the fully trained model as it is."""
    from safetensors.torch import load_file

    task: Task = config.task
    model = task.load_model(base.folder, base_model.options(config, device="cpu")).model
    weights: dict[str, Any] = {}
    for file in sorted(checkpoint.glob("model*.safetensors")):
        weights |= load_file(file)
    result = model.load_state_dict(weights, strict=False)
    tied = tied_names(model)
    missing = [
        name
        for name in result.missing_keys
        if name not in tied and not is_shared(model, name, weights)
    ]
    if missing or result.unexpected_keys:
        odd = [*missing, *result.unexpected_keys]
        raise GateError(
            f"The checkpoint {checkpoint.name} does not fit the model: {len(odd)} tensors, "
            f"such as `{odd[0]}`.",
            fix="Delete the checkpoint and give the same command again.",
        )
    if hasattr(model, "tie_weights"):
        model.tie_weights()
    return Candidate(
        model,
        parity.outputs(model, inputs(model)),
        0.0,
        "the trained weights in memory with the exported folder in a fresh process",
        None,
    )


def tied_names(model: Any) -> set[str]:
    """Return the names of weights that are another weight's."""
    tied = getattr(model, "all_tied_weights_keys", None) or {}
    return {*tied.keys(), *tied.values()} if isinstance(tied, dict) else set(tied)


def is_shared(model: nn.Module, name: str, weights: dict[str, Any]) -> bool:
    """Tell whether a missing weight is the same tensor as one that was loaded."""
    state = model.state_dict(keep_vars=True)
    return any(name != other and state[other] is state[name] for other in weights if other in state)


def fold_adapter(
    config: RunConfig,
    base: BaseModel,
    checkpoint: Path,
    run: RunFolder,
    inputs: Callable[[Any], dict[str, Any]],
) -> Candidate:
    """Fold the adapter into the original base, or the dequantised one where that scores better."""
    task: Task = config.task
    plain_options = base_model.options(config, device="cpu")
    if getattr(config.strategy, "quantization", None) is None:
        wrapped = merge.with_adapter(task.load_model(base.folder, plain_options).model, checkpoint)
        reference = parity.outputs(wrapped, inputs(wrapped))
        compared = "base and adapter, before folding, with the exported folder in a fresh process"
        return Candidate(merge.merged(wrapped), reference, 0.0, compared, "original")
    choice = config.export.merge_base
    candidates = {}
    if choice in ("auto", "dequantised"):
        candidates["dequantised"] = onto_dequantised(config, base, checkpoint, inputs)
    if choice in ("auto", "original"):
        wrapped = merge.with_adapter(task.load_model(base.folder, plain_options).model, checkpoint)
        reference = parity.outputs(wrapped, inputs(wrapped))
        compared = (
            "full-precision base and adapter, before folding, with the exported folder "
            "in a fresh process"
        )
        candidates["original"] = Candidate(
            merge.merged(wrapped), reference, 0.0, compared, "original"
        )
    if len(candidates) == 1:
        return next(iter(candidates.values()))
    losses = {
        name: validation_loss(run, task, candidate.model) for name, candidate in candidates.items()
    }
    run.record_stage("export", merge_base_losses=losses)
    return candidates[min(losses, key=lambda name: (losses[name], name))]


def onto_dequantised(
    config: RunConfig, base: BaseModel, checkpoint: Path, inputs: Callable[[Any], dict[str, Any]]
) -> Candidate:
    """Fold the adapter into the values that the quantised layers stood for while training."""
    task: Task = config.task
    device = "cpu" if not config.train.device.startswith("cuda") else config.train.device
    trained = task.load_model(
        base.folder, base_model.options(config, device=device, quantized=True)
    ).model
    plain = task.load_model(base.folder, base_model.options(config, device="cpu")).model
    merge.dequantise_into(plain, trained)
    reference = parity.outputs(merge.with_adapter(trained, checkpoint), inputs(trained))
    compared = "quantised base and adapter as trained, with the exported folder in a fresh process"
    return Candidate(
        merge.merged(merge.with_adapter(plain, checkpoint)),
        reference,
        QUANTISED_TOLERANCE,
        compared,
        "dequantised",
    )


def validation_loss(run: RunFolder, task: Task, model: nn.Module) -> float:
    """Return the mean loss on validation rows, or on training rows where there are none."""
    import torch

    split = "validation" if run.manifest()["data"]["rows"].get("validation") else "train"
    rows = splits.as_rows(splits.read(run, split, max_rows=256)[:])
    total, units = 0.0, 0.0
    for start in range(0, len(rows), 16):
        with torch.inference_mode():
            summed, count = task.loss(model, task.collate(task.encode(rows[start : start + 16])))
        total, units = total + float(summed), units + float(count)
    return total / max(units, 1.0)
