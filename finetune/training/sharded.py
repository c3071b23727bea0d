"""Models of which each rank holds a part (FSDP2): whole tensors out of them and back into them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch import Tensor, nn


def blocks(model: nn.Module) -> list[str]:
    """Return the classes of the blocks to shard: those that transformers keeps whole.

    A block around an embedding is left out, since embeddings are shards of their own.
    """
    names = set(getattr(model, "_no_split_modules", None) or ())
    getters = (getattr(model, f"get_{side}_embeddings", None) for side in ("input", "output"))
    embeddings = [found for get in getters if get is not None and (found := get()) is not None]
    around = {
        type(module).__name__
        for module in model.modules()
        for embedding in embeddings
        if module is not embedding and any(part is embedding for part in module.modules())
    }
    present = {type(module).__name__ for module in model.modules()}
    return sorted((names & present) - around)


@contextlib.contextmanager
def shared_embeddings_left_together(model: nn.Module) -> Iterator[None]:
    """Keep Accelerate from sharding an embedding apart from a third module that shares its weight.

    It makes groups of their own of the input and the output embeddings; T5's encoder and decoder
    hold the same weight again. Such a weight then stays in the group of the whole model.
    """
    sides = ("get_input_embeddings", "get_output_embeddings")
    found = [get() for side in sides if (get := getattr(model, side, None)) is not None]
    ends = [module for module in found if module is not None]
    shared = {id(module.weight) for module in ends}
    others = [
        module
        for module in model.modules()
        if id(getattr(module, "weight", None)) in shared and not any(module is end for end in ends)
    ]
    if not others:
        yield
        return
    for side in sides:
        setattr(model, side, lambda: None)
    try:
        yield
    finally:
        for side in sides:
            delattr(model, side)


def whole(value: Any, *, keep: bool) -> Any:
    """Return a nested state with its shards put together, on the host.

    All ranks call this together, in the same order.

    Args:
        value: Dicts, lists, tensors and plain values.
        keep: Whether this rank wants the result; on the others tensors become None.
    """
    if isinstance(value, torch.Tensor):
        full = value.full_tensor() if hasattr(value, "full_tensor") else value
        return full.detach().to("cpu", copy=True) if keep else None
    if isinstance(value, Mapping):
        return {key: whole(item, keep=keep) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [whole(item, keep=keep) for item in value]
    return value


def trained_weights(model: nn.Module, *, keep: bool) -> dict[str, Tensor]:
    """Return the trained weights and the buffers, put together; all ranks call this together.

    A weight that several modules share comes once, under its first name.
    """
    left_out = {name for name, weight in model.named_parameters() if not weight.requires_grad}
    names = {name for name, _ in model.named_parameters()}
    left_out |= {n for n, _ in model.named_parameters(remove_duplicate=False)} - names
    return {
        name: whole(value, keep=keep)
        for name, value in model.state_dict().items()
        if name not in left_out and isinstance(value, torch.Tensor)
    }


def in_shards(state: dict[str, Any], optimizer: Any) -> dict[str, Any]:
    """Return an optimiser's whole state cut as its parameters are.

    Args:
        state: What `state_dict()` gave, with whole tensors.
        optimizer: Whose parameters are cut.
    """
    from torch.distributed.tensor import DTensor, distribute_tensor

    parameters = [weight for group in optimizer.param_groups for weight in group["params"]]
    cut: dict[int, dict[str, Any]] = {}
    for number, values in state["state"].items():
        weight = parameters[number]
        cut[number] = {
            key: distribute_tensor(
                value.to(weight.device), weight.device_mesh, list(weight.placements)
            )
            if isinstance(weight, DTensor)
            and isinstance(value, torch.Tensor)
            and value.shape == weight.shape
            else value
            for key, value in values.items()
        }
    return {**state, "state": cut}
