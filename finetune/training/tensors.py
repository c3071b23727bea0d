"""Nested state as safetensors and JSON: what optimisers hold, without a pickle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from finetune.errors import ArtefactError
from finetune.runs import storage

MARK = "tensor"
"""Key that stands for a tensor in the JSON file, with its name in the other one as value."""


def write(folder: Path, name: str, state: Mapping[Any, Any]) -> None:
    """Write a state as ``name.safetensors`` and ``name.json``.

    Args:
        folder: An existing folder.
        name: Of both files.
        state: Dicts, lists, numbers, strings and tensors; keys are strings or whole numbers.
    """
    from safetensors.torch import save_file

    tensors: dict[str, torch.Tensor] = {}
    rest = parted(state, "", tensors, set())
    save_file(tensors, folder / f"{name}.safetensors", {"format": "pt"})
    storage.write_json(folder / f"{name}.json", rest)


def parted(value: Any, path: str, tensors: dict[str, torch.Tensor], places: set[int]) -> Any:
    """Return a value with its tensors taken out, each under its path."""
    if isinstance(value, torch.Tensor):
        tensors[path] = alone(value, places)
        return {MARK: path}
    if isinstance(value, Mapping):
        # Pairs, since JSON would turn a number that is a key into text.
        return {
            "pairs": [
                [key, parted(item, f"{path}/{key}", tensors, places)] for key, item in value.items()
            ]
        }
    if isinstance(value, (list, tuple)):
        return [
            parted(item, f"{path}/{place}", tensors, places) for place, item in enumerate(value)
        ]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"A {type(value).__name__} at `{path}` has no place in a checkpoint.")


def nbytes(value: Any) -> int:
    """Return the bytes of all tensors in a nested state."""
    if isinstance(value, torch.Tensor):
        return int(value.numel() * value.element_size())
    if isinstance(value, Mapping):
        return sum(nbytes(item) for item in value.values())
    return sum(map(nbytes, value)) if isinstance(value, (list, tuple)) else 0


def alone(tensor: torch.Tensor, places: set[int]) -> torch.Tensor:
    """Return a tensor on the host that shares no memory with another one; itself if it is that.

    Args:
        tensor: Anywhere, whole or cut among ranks.
        places: Where the memory of those lies that were returned before.
    """
    full = (tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor).detach()
    memory = full.untyped_storage()
    whole = full.device.type == "cpu" and full.is_contiguous() and memory.nbytes() == full.nbytes
    if whole and memory.data_ptr() not in places:
        places.add(memory.data_ptr())
        return full
    return full.to("cpu", copy=True).contiguous()


def read(folder: Path, name: str) -> Any:
    """Return a state as it was written.

    Raises:
        ArtefactError: The two files do not belong together.
    """
    from safetensors.torch import load_file

    tensors = load_file(folder / f"{name}.safetensors")
    try:
        return joined(storage.read_json(folder / f"{name}.json"), tensors)
    except (KeyError, TypeError, ValueError) as error:
        raise ArtefactError(
            f"`{folder.name}/{name}.json` does not fit `{name}.safetensors`.",
            fix="Remove this checkpoint; training goes on from the one before.",
            where=str(folder),
        ) from error


def joined(value: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    """Return a value with its tensors put back."""
    if isinstance(value, dict):
        if MARK in value:
            return tensors[value[MARK]]
        return {key: joined(item, tensors) for key, item in value["pairs"]}
    if isinstance(value, list):
        return [joined(item, tensors) for item in value]
    return value
