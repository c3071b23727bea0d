"""Models of which each rank holds a part (FSDP2): whole tensors out of them and back into them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch

from finetune.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor, nn

SIDES = ("get_input_embeddings", "get_output_embeddings")


def blocks(model: nn.Module) -> list[str]:
    """Return the classes of the blocks to shard: those that transformers keeps whole.

    A block around an embedding is left out, since embeddings are shards of their own.
    """
    names = set(getattr(model, "_no_split_modules", None) or ())
    embeddings = ends(model)
    around = {
        type(module).__name__
        for module in model.modules()
        for embedding in embeddings
        if module is not embedding and any(part is embedding for part in module.modules())
    }
    present = {type(module).__name__ for module in model.modules()}
    return sorted((names & present) - around)


def ends(model: nn.Module) -> list[nn.Module]:
    """Return the input and the output embeddings, as far as the model tells them."""
    found = []
    for side in SIDES:
        with contextlib.suppress(AttributeError, NotImplementedError):  # CLIP has several towers
            found.append(getattr(model, side)())
    return [module for module in found if module is not None]


OPTIMIZERS = ("adamw_torch", "adamw_torch_fused", "sgd")
"""Those whose arithmetic knows shards: neither bitsandbytes' kernels nor Adafactor's factors do."""

WHOLE = (
    "Launch with conf/accelerate/ddp.yaml (conf/accelerate/cpu.yaml without a device): "
    "every rank then holds the whole model."
)


def refuse_what_no_shard_can_be_made_of(model: nn.Module, optimizer: str) -> None:
    """Say what to do about a model or an optimiser that FSDP2 cannot cut.

    Args:
        model: As it will be trained.
        optimizer: The name of the optimiser.

    Raises:
        ConfigError: A weight is a single number without a dimension, such as CLIP's temperature;
            layers are quantised to 8 bits; or the optimiser knows no shards.
    """
    single = [name for name, weight in model.named_parameters() if weight.dim() == 0]
    if single:
        raise ConfigError(
            f"FSDP2 can't make shards of this model: its weight `{single[0]}` is a single number.",
            fix=WHOLE,
        )
    if any(type(weight).__name__ == "Int8Params" for weight in model.parameters()):
        raise ConfigError(
            "FSDP2 can't make shards of 8-bit layers (strategy.quantization.bits=8).",
            fix=f"Set strategy.quantization.bits=4. Or: {WHOLE}",
        )
    if optimizer not in OPTIMIZERS:
        raise ConfigError(
            f"FSDP2 can't train with train.optim={optimizer}: its arithmetic knows no shards.",
            fix=f"Choose one of {', '.join(OPTIMIZERS)}.",
        )


@contextlib.contextmanager
def shared_embeddings_left_together(model: nn.Module) -> Iterator[None]:
    """Keep Accelerate from sharding an embedding apart from a third module that shares its weight.

    It makes groups of their own of the input and the output embeddings; T5's encoder and decoder
    hold the same weight again. Such a weight then stays in the group of the whole model.
    """
    own = ends(model)
    shared = {id(module.weight) for module in own}
    others = [
        module
        for module in model.modules()
        if id(getattr(module, "weight", None)) in shared and not any(module is end for end in own)
    ]
    if not others:
        yield
        return
    for side in SIDES:
        setattr(model, side, lambda: None)
    try:
        yield
    finally:
        for side in SIDES:
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
