"""Fold an adapter into the base in full precision, never into quantised weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.errors import ArtefactError, NumericsError
from finetune.models import trust
from finetune.runs import storage

if TYPE_CHECKING:
    from torch import nn

WEIGHTS = "adapter_model.safetensors"


def with_adapter(model: nn.Module, folder: Path) -> nn.Module:
    """Put a saved adapter on a base.

    Raises:
        ArtefactError: The adapter is incomplete or made for another base.
        NumericsError: It has NaN or infinite weights.
    """
    from peft import PeftModel
    from peft.utils import get_peft_model_state_dict
    from safetensors.torch import load_file

    trust.check_adapter(folder, WEIGHTS)
    saved = load_file(folder / WEIGHTS)
    broken = [name for name, tensor in saved.items() if not bool(tensor.isfinite().all())]
    if broken:
        raise NumericsError(
            f"The adapter in `{folder}` has NaN or infinite weights, such as `{broken[0]}`; "
            "nothing is exported.",
            fix="Train again with a lower train.learning_rate.",
        )
    try:
        wrapped = PeftModel.from_pretrained(model, str(folder))
    except (RuntimeError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ArtefactError(
            f"The adapter in `{folder}` does not fit this base: "
            f"{' '.join(str(error).split())[:300]}",
            fix="Use the base model that it was trained on.",
        ) from error
    expected = set(get_peft_model_state_dict(wrapped, save_embedding_layers=False))
    if expected != set(saved):
        odd = sorted(expected ^ set(saved))
        raise ArtefactError(
            f"The adapter in `{folder}` does not fit this base: {len(odd)} tensors are missing or "
            f"left over, such as `{odd[0]}`.",
            fix="Use the base model that it was trained on.",
        )
    found: nn.Module = wrapped.eval()
    return found


def merged(model: Any) -> nn.Module:
    """Return the plain model with the adapter folded in.

    Raises:
        NumericsError: The result is not finite.
    """
    try:
        plain: nn.Module = model.merge_and_unload(safe_merge=True)
    except ValueError as error:
        raise NumericsError(
            f"Folding the adapter in gives weights that are not finite: {error}"
        ) from error
    return plain.eval()


def dequantise_into(model: nn.Module, quantised: nn.Module) -> int:
    """Put the values that quantised layers stand for into the same layers of a plain model.

    Returns:
        How many layers were changed.
    """
    import bitsandbytes.functional as bnb
    import torch
    from transformers.pytorch_utils import Conv1D

    modules = dict(model.named_modules())
    count = 0
    for name, layer in quantised.named_modules():
        weight: Any = getattr(layer, "weight", None)
        state = getattr(weight, "quant_state", None)
        if state is not None:
            values = bnb.dequantize_4bit(weight.data, state)
        elif type(layer).__name__ == "Linear8bitLt":
            scale = getattr(weight, "SCB", None)
            if scale is None:
                continue
            values = weight.data.float() * scale.view(-1, 1) / 127.0
        else:
            continue
        plain: Any = modules[name]
        if isinstance(plain, Conv1D):  # holds its weight the other way round
            values = values.T
        with torch.no_grad():
            plain.weight.copy_(values)
        count += 1
    return count


def publish_adapter(checkpoint: Path, target: Path, *, base: str, revision: str | None) -> None:
    """Copy an adapter out of a checkpoint, naming its base so that PEFT finds it.

    A base in a folder of this machine is named by that folder's name alone.
    """
    import shutil

    for name in (WEIGHTS, "adapter_config.json"):
        shutil.copyfile(checkpoint / name, target / name)
    file = target / "adapter_config.json"
    config = storage.read_json(file)
    for key, value in config.items():
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            config[key] = sorted(value)  # PEFT keeps sets, whose order changes from run to run
    named = Path(base).name if Path(base).expanduser().is_absolute() else base
    config |= {"base_model_name_or_path": named, "revision": revision, "inference_mode": True}
    storage.write_json(file, dict(sorted(config.items())))
