"""Put an adapter on a model, or make all of it trainable."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from finetune.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from torch import nn

logger = logging.getLogger(__name__)


def apply(
    model: nn.Module,
    *,
    peft_type: str | None,
    options: Mapping[str, Any],
    new_modules: Sequence[str],
    freeze: Sequence[str] = (),
) -> nn.Module:
    """Return the model with what is to be trained marked as such.

    Args:
        model: The base, possibly quantised.
        peft_type: PEFT's type such as LORA; None trains every weight.
        options: Fields of PEFT's configuration class.
        new_modules: Modules without pretrained weights; trained and saved beside the adapter.
        freeze: Modules that are not trained where every weight is.

    Raises:
        ConfigError: The type, a field or a target module does not exist.
    """
    if peft_type is None:
        model.requires_grad_(True)
        freeze_modules(model, freeze)
        return model
    from peft import get_peft_model

    config = adapter_config(model, peft_type, options, new_modules)
    model.requires_grad_(False)
    try:
        wrapped = get_peft_model(model, config)
    except ValueError as error:
        raise ConfigError(
            f"The adapter does not fit this model: {' '.join(str(error).split())}",
            fix=f"Its linear layers are named: {', '.join(leaf_names(model))}.",
        ) from error
    trainable_in_full_precision(wrapped)
    return wrapped


def freeze_modules(model: nn.Module, names: Sequence[str]) -> None:
    """Leave the weights of modules as they are, those of all that have one of the names.

    Raises:
        ConfigError: No module has such a name, or nothing is left to train.
    """
    check_names(model, names, "strategy.freeze")
    for name, module in model.named_modules():
        if any(named(name, wanted) for wanted in names):
            module.requires_grad_(False)
    if names and not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError(
            "`strategy.freeze` leaves no weight to train.",
            fix=f"Leave one of these out: {', '.join(names)}.",
        )


def named(name: str, wanted: str) -> bool:
    """Tell whether a module's full name is, or ends in, what was asked for."""
    return name == wanted or name.endswith(f".{wanted}")


def adapter_config(
    model: nn.Module, peft_type: str, options: Mapping[str, Any], new_modules: Sequence[str]
) -> Any:
    """Return PEFT's configuration object, with `all-linear` spelt out and the new head kept."""
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    known = {
        str(getattr(key, "value", key)): value for key, value in PEFT_TYPE_TO_CONFIG_MAPPING.items()
    }
    if peft_type not in known:
        raise ConfigError(
            f"`strategy.peft_type={peft_type}` is unknown{did_you_mean(peft_type, known) or '.'}"
        )
    config_class = known[peft_type]
    fields = config_class.__dataclass_fields__
    unknown = [key for key in options if key not in fields]
    if unknown:
        raise ConfigError(
            [
                f"`strategy.options.{key}` is no field of {config_class.__name__}"
                f"{did_you_mean(key, fields) or '.'}"
                for key in unknown
            ]
        )
    values = {key: value for key, value in options.items() if value is not None}
    targets = values.get("target_modules")
    if targets == "all-linear":
        values["target_modules"] = all_linear(model, new_modules)
        if values.get("layers_to_transform") is not None and not values.get("layers_pattern"):
            # PEFT heeds it for the ends of names alone, and full names are what it has here
            values["target_modules"] = in_layers(
                values["target_modules"], values.pop("layers_to_transform")
            )
    elif isinstance(targets, list):
        check_names(model, targets, "strategy.target_modules")
    if "modules_to_save" in fields:
        values["modules_to_save"] = (
            sorted({*values.get("modules_to_save", ()), *new_modules}) or None
        )
    return config_class(**values)


def linear_types() -> tuple[type, ...]:
    """Return the layer classes that hold a weight matrix, quantised ones among them."""
    import bitsandbytes as bnb
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    return (nn.Linear, Conv1D, bnb.nn.Linear4bit, bnb.nn.Linear8bitLt)


def all_linear(model: nn.Module, new_modules: Sequence[str]) -> list[str]:
    """Return every linear layer by full name, but for the head and the output embeddings."""
    from torch import nn

    getter = getattr(model, "get_output_embeddings", None)
    output = getter() if getter is not None else None
    kinds = linear_types()
    # torch's own attention reads the weight past the layer, so an adapter on it would do nothing
    inside = {
        id(part)
        for module in model.modules()
        if isinstance(module, nn.MultiheadAttention)
        for part in module.modules()
    }
    names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, kinds)
        and module is not output
        and id(module) not in inside
        and not any(name == new or name.startswith(f"{new}.") for new in new_modules)
    ]
    if not names:
        raise ConfigError(
            "`strategy.target_modules=all-linear` finds no linear layer in this model.",
            fix="Name the modules to adapt with strategy.target_modules=[…].",
        )
    return names


def in_layers(names: Sequence[str], wanted: int | Sequence[int]) -> list[str]:
    """Return the modules of some layers: the first number in a name is its layer's."""
    numbers = {wanted} if isinstance(wanted, int) else set(wanted)
    layers = {name: next((int(p) for p in name.split(".") if p.isdigit()), None) for name in names}
    missing = sorted(numbers - set(layers.values()))
    if missing:
        known = sorted({number for number in layers.values() if number is not None})
        raise ConfigError(
            f"`strategy.layers_to_transform` names layer {missing[0]}, which has no linear module.",
            fix=f"Layers are counted from 0; this model has {known[0]} to {known[-1]}."
            if known
            else "This model has no numbered layers; leave it out.",
        )
    return [name for name in names if layers[name] in numbers]


def check_names(model: nn.Module, wanted: Sequence[str], key: str) -> None:
    """Refuse names that match no module, naming the nearest ones."""
    names = [name for name, _ in model.named_modules() if name]
    missing = [w for w in wanted if not any(named(name, w) for name in names)]
    if missing:
        linear = key == "strategy.target_modules"
        told = leaf_names(model) if linear else [n for n, _ in model.named_children()]
        parts = sorted({part for name in names for part in name.split(".") if not part.isdigit()})
        raise ConfigError(
            [
                f"`{key}` names `{name}`, which no module is called"
                f"{did_you_mean(name, parts) or '.'}"
                for name in missing
            ],
            fix=f"{'Linear layers' if linear else 'Modules'} of this model: {', '.join(told)}"
            f"{'.' if linear else ', and what they are made of.'}",
        )


def leaf_names(model: nn.Module) -> list[str]:
    """Return the last parts of the linear layers' names, each once."""
    kinds = linear_types()
    return sorted(
        {
            name.rsplit(".", 1)[-1]
            for name, module in model.named_modules()
            if isinstance(module, kinds)
        }
    )


def trainable_in_full_precision(model: nn.Module) -> None:
    """Hold what is trained in fp32: half-precision optimizer steps lose small updates."""
    import torch

    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dtype in (torch.float16, torch.bfloat16):
            parameter.data = parameter.data.float()
