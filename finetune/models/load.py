"""Load a base model: safetensors only, what is new of it named, the head never quantised."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.errors import ArtefactError, ConfigError
from finetune.models import heap, trust

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True)
class Quantization:
    """How the frozen weights are held (bitsandbytes names)."""

    bits: int = 4
    quant_type: str = "nf4"
    double_quant: bool = True


@dataclass(frozen=True)
class LoadOptions:
    """What a Task passes on to `load` without looking at it."""

    dtype: str = "float32"
    """Floating-point type of the weights, as torch names it."""
    device: str = "cpu"
    """Where the weights are put."""
    attn_implementation: str = "auto"
    """Attention kernels, by transformers' names."""
    dropout: float | None = None
    """Set every dropout to this; None keeps the checkpoint's."""
    quantization: Quantization | None = None
    """Quantise the linear layers, all but the head."""
    seed: int = 0
    """Seed of a new head's weights."""


@dataclass(frozen=True)
class Loaded:
    """A model and what of it is new."""

    model: nn.Module
    """The model, in evaluation mode."""
    new_modules: list[str] = field(default_factory=list)
    """Modules that the checkpoint has no weights for: they must be trained and saved."""


def load(
    folder: Path,
    auto_class: type,
    options: LoadOptions,
    *,
    config_changes: Mapping[str, Any] | None = None,
    head_may_be_new: bool = False,
) -> Loaded:
    """Load a checkpoint as the given Auto class.

    Args:
        folder: A model folder; it is checked once more, for it may have changed since.
        auto_class: Which head, such as ``AutoModelForSequenceClassification``.
        options: Type, device, quantisation, dropout.
        config_changes: Attributes of the configuration to set, such as ``id2label``.
        head_may_be_new: Whether modules outside the base may lack weights.

    Returns:
        The model and the names of its new modules.

    Raises:
        ArtefactError: Weights are missing, left over or of another shape.
        ConfigError: The architecture has no such head.
    """
    import torch

    trust.check(folder)
    config = read_config(folder, dropout=options.dropout, changes=config_changes or {})
    arguments: dict[str, Any] = {
        "config": config,
        "dtype": getattr(torch, options.dtype),
        "local_files_only": True,
        "use_safetensors": True,
        "output_loading_info": True,
        "ignore_mismatched_sizes": head_may_be_new,
    }
    if options.attn_implementation != "auto":
        arguments["attn_implementation"] = options.attn_implementation
    torch.manual_seed(options.seed)
    with quiet(), readable(folder, auto_class):
        if options.quantization is not None:
            arguments["quantization_config"] = quantization_config(
                options.quantization, options.dtype, kept_in_full(config, auto_class)
            )
            arguments["device_map"] = {"": options.device}
        model, info = auto_class.from_pretrained(str(folder), **arguments)  # type: ignore[attr-defined]
    new = new_modules(model, info, folder, allowed=head_may_be_new)
    if options.quantization is None:
        model.to(options.device)
    else:
        keep_unpacked(model)
        heap.give_back()
    return Loaded(model.eval(), new)


def read_config(
    folder: Path, *, dropout: float | None = None, changes: Mapping[str, Any] | None = None
) -> Any:
    """Read a model's configuration, with every dropout and the given attributes set."""
    from transformers import AutoConfig

    trust.check_options(folder)
    try:
        config = AutoConfig.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
    except (ValueError, KeyError, OSError) as error:
        raise ArtefactError(
            f"`{folder}` has no configuration that transformers knows: {first_sentence(error)}",
            fix="Check that config.json names a `model_type` of the installed transformers.",
        ) from error
    if dropout is not None:
        set_dropout(config, dropout)
    for key, value in (changes or {}).items():
        setattr(config, key, value)
    return config


def set_dropout(config: Any, rate: float) -> None:
    """Set every dropout in a configuration and in those nested in it.

    Dropping whole layers is another thing: it is only switched off, with a rate of 0.
    """
    for key, value in vars(config).items():
        if "layerdrop" in key and rate:
            continue
        if "drop" in key and isinstance(value, (int, float)) and not isinstance(value, bool):
            setattr(config, key, rate)
        elif hasattr(value, "model_type"):
            set_dropout(value, rate)


def dropout_of(config: Any) -> float:
    """Return the largest dropout that a configuration asks for."""
    rates = [0.0]
    for key, value in vars(config).items():
        if "drop" in key and isinstance(value, (int, float)) and not isinstance(value, bool):
            rates.append(float(value))
        elif hasattr(value, "model_type"):
            rates.append(dropout_of(value))
    return max(rates)


def kept_in_full(config: Any, auto_class: type) -> list[str]:
    """Return the modules never quantised: the head, the output embeddings, what is tied."""
    import torch

    with torch.device("meta"), quiet():
        model = auto_class.from_config(config)  # type: ignore[attr-defined]
    output = model.get_output_embeddings()
    outputs = [name for name, module in model.named_modules() if module is output]
    tied = model.all_tied_weights_keys
    shared = [name.rpartition(".")[0] for pair in tied.items() for name in pair]
    return sorted({*outputs, *shared, *head_modules(model)})


def head_modules(model: Any) -> list[str]:
    """Return the modules outside the base, and its pooler: what a task head is made of."""
    from torch import nn

    prefix = model.base_model_prefix
    if not prefix or not hasattr(model, prefix):
        return ["pooler"] if isinstance(getattr(model, "pooler", None), nn.Module) else []
    outside = [
        name
        for name, child in model.named_children()
        if name != prefix and any(True for _ in child.parameters())
    ]
    pooler = getattr(getattr(model, prefix), "pooler", None)
    return [*outside, f"{prefix}.pooler"] if isinstance(pooler, nn.Module) else outside


def new_modules(model: Any, info: Mapping[str, Any], folder: Path, *, allowed: bool) -> list[str]:
    """Return the modules that got no weights, refusing whatever is not a whole new head."""
    missing = {str(key) for key in info["missing_keys"]}
    missing |= {str(entry[0]) for entry in info.get("mismatched_keys", ())}
    if not missing:
        return []
    heads = head_modules(model) if allowed else []
    found = sorted({head for head in heads if any(key.startswith(f"{head}.") for key in missing)})
    strays = sorted(key for key in missing if not any(key.startswith(f"{head}.") for head in found))
    if strays:
        raise ArtefactError(
            f"The weights in `{folder}` do not fit `{type(model).__name__}`: {len(strays)} tensors "
            f"are missing or of another shape, such as `{strays[0]}`.",
            fix="Name the checkpoint that this task's model was saved as, or another task.",
            where=str(folder),
        )
    return found


def quantization_config(quantization: Quantization, dtype: str, skip: Sequence[str]) -> Any:
    """Return transformers' bitsandbytes configuration."""
    import torch
    from transformers import BitsAndBytesConfig

    if quantization.bits == 8:
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=list(skip))
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=quantization.quant_type,
        bnb_4bit_use_double_quant=quantization.double_quant,
        bnb_4bit_compute_dtype=getattr(torch, dtype),
        llm_int8_skip_modules=list(skip),
    )


def keep_unpacked(model: nn.Module) -> None:
    """Keep 4-bit weights as they are on processors with AVX512-BF16.

    There bitsandbytes repacks them in place at the first forward pass in evaluation mode: training
    after a validation then fails or learns nothing, and what is dequantised later is not what was
    trained on.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


@contextlib.contextmanager
def readable(folder: Path, auto_class: type) -> Iterator[None]:
    """Turn transformers' refusals into sentences."""
    try:
        yield
    except ValueError as error:
        if "Unrecognized configuration class" in str(error):
            raise ConfigError(
                f"The model in `{folder}` has no `{auto_class.__name__}`: its architecture is made "
                "for other tasks.",
                fix="Choose a base model of this task's family, or another task.",
            ) from error
        raise ArtefactError(f"`{folder}` cannot be loaded: {first_sentence(error)}") from error
    except (OSError, RuntimeError) as error:
        if "out of memory" in str(error) or "can't allocate" in str(error):
            raise
        raise ArtefactError(f"`{folder}` cannot be loaded: {first_sentence(error)}") from error


def first_sentence(error: BaseException) -> str:
    """Return the opening of a library's message, on one line."""
    text = " ".join(str(error).split())
    return re.split(r"(?<=[.!])\s", text)[0][:300]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers while it loads; what matters of its loading report is checked here."""
    names = ("transformers", "transformers.modeling_utils", "bitsandbytes")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    from transformers.utils import logging as transformers_logging

    bar = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if bar:
            transformers_logging.enable_progress_bar()


def parameter_count(model: nn.Module, *, trainable: bool = False) -> int:
    """Return how many weights a model has, counting packed 4-bit weights as what they stand for."""
    total = 0
    for name, parameter in model.named_parameters():
        if (trainable and not parameter.requires_grad) or ".original_module." in name:
            continue  # PEFT keeps the head as it was beside the one that is trained
        state = getattr(parameter, "quant_state", None)
        total += int(torch_size(state.shape)) if state is not None else parameter.numel()
    return total


def torch_size(shape: torch.Size) -> int:
    """Return the number of elements of a shape."""
    return int(shape.numel())
