"""Options in the JSON files of a model that would run code, fetch something, or lead elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from finetune.errors import ArtefactError
from finetune.models import safetensors_header

MAX_CONFIG = 16_000_000
"""Bytes of a configuration file; a label map of 100,000 names has about 5 MB."""

ATTENTION = ("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention")
"""Attention kernels that come with transformers; any other name may be a hub repository of code."""

QUANTIZATION = ("bitsandbytes",)
"""The ways of quantising a base that are installed; others load kernels from elsewhere."""

OBJECTS = (
    "config.json", "generation_config.json", "tokenizer_config.json", "preprocessor_config.json",
    "processor_config.json", "adapter_config.json",
)  # fmt: skip
"""Files that hold options by name; others of a similar name may hold a list."""

HARMLESS = ("_name_or_path", "_commit_hash", "_diffusers_version", "_class_name")
"""Private keys that transformers itself wrote into configurations, and never acts on."""


def read(path: Path) -> Any:
    """Return what a JSON file of options holds.

    Raises:
        ArtefactError: It is too large, or no JSON.
    """
    if path.stat().st_size > MAX_CONFIG:
        raise safetensors_header.broken(path, f"it has more than {MAX_CONFIG} bytes")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise safetensors_header.broken(path, f"it is not JSON ({str(error)[:80]})") from None


def check(path: Path) -> None:
    """Refuse the options that make a library run code or fetch something from elsewhere.

    Raises:
        ArtefactError: Naming the key.
    """
    config = read(path)
    if path.name == "modules.json":
        modules = config if isinstance(config, list) else []
        kinds = [str(item.get("type")) for item in modules if isinstance(item, dict)]
        if any(not kind.startswith("sentence_transformers.") for kind in kinds):
            raise _runs_code(path, "a module that is not part of sentence-transformers")
        return
    if path.name in OBJECTS and not isinstance(config, dict):
        raise safetensors_header.broken(path, "it is not a JSON object")
    if path.name == "adapter_config.json":
        raise _adapter(path, config)
    for key, value in _pairs(config):
        if key == "auto_map" and value:
            raise _runs_code(path, "`auto_map`")
        if key == "trust_remote_code" and value:
            raise _trap(path, key, value, "Only you can trust code, not the model.")
        if key == "use_pretrained_backbone" and value:
            raise _trap(path, key, value, "Set it to false: a part would come from elsewhere.")
        if key.lstrip("_").startswith(("attn_implementation", "experts_implementation")):
            _check_kernels(path, key, value)
        elif key.startswith("_") and path.name == "config.json" and key not in HARMLESS:
            if isinstance(value, str | list | dict):
                raise _trap(path, key, value, "Remove the key: it is private to transformers.")
        elif key == "quantization_config" and value:
            method = value.get("quant_method") if isinstance(value, dict) else value
            if method not in QUANTIZATION:
                fix = "Choose the full-precision checkpoint; `strategy=qlora` quantises it."
                raise _trap(path, key, method, fix)


def check_adapter(path: Path) -> None:
    """Refuse the options of an adapter that make PEFT import what they name.

    Raises:
        ArtefactError: Naming the key.
    """
    config = read(path)
    if not isinstance(config, dict):
        raise safetensors_header.broken(path, "it is not a JSON object")
    for key, value in _pairs(config):
        if value and key in ("trust_remote_code", "megatron_config"):
            raise _trap(path, key, value, "Remove the key: PEFT would import what it names.")


def _check_kernels(path: Path, key: str, value: Any) -> None:
    """Refuse kernels by a name that isn't transformers' own, for the model or one of its parts."""
    for name in value.values() if isinstance(value, dict) else [value]:
        internal = key.endswith("_internal") and name is not None
        if internal or not (name is None or isinstance(name, bool) or name in ATTENTION):
            fix = "Remove the key, and choose the kernels with `model.attn_implementation`."
            raise _trap(path, key, name, fix)


def _adapter(path: Path, config: dict[str, Any]) -> ArtefactError:
    """Return the refusal of an adapter: transformers would load the base that *it* names."""
    base = config.get("base_model_name_or_path")
    return ArtefactError(
        f"`{path.parent}` holds a PEFT adapter of `{str(base)[:80]}`, not a base model.",
        fix="Give the base model itself, or the merged model (`merged/` in a run folder).",
        where=str(path),
    )


def _pairs(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield every key and value in nested JSON; without recursion, which JSON can exhaust."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            yield from item.items()
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)


def _runs_code(path: Path, what: str) -> ArtefactError:
    return ArtefactError(
        f"`{path}` points to code of its own ({what}), which is never run: "
        "`--trust-remote-code` is for metrics alone.",
        fix="Choose a model whose architecture is part of transformers.",
        where=str(path),
    )


def _trap(path: Path, key: str, value: object, fix: str) -> ArtefactError:
    return ArtefactError(
        f"`{path}` sets `{key[:80]}` to `{str(value)[:80]}`, which a model must not.",
        fix=fix,
        where=str(path),
    )
