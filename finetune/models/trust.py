"""Refuse a model folder that could run something, lead elsewhere, or is broken."""

from __future__ import annotations

import fnmatch
import json
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from finetune.errors import ArtefactError
from finetune.models import safetensors_header

PICKLES = (
    "*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.pkl", "*.pickle", "*.joblib", "*.msgpack",
    "*.npy", "*.npz", "*.ot", "*.keras", "*.nemo", "*.tar", "*.zip", "*.gz", "*.7z",
)  # fmt: skip
"""Weights in formats that can run a program when they are read, or that hide one that does."""

CONVERT = (
    "Choose a checkpoint saved as safetensors, or convert this one in a sandbox that has nothing "
    "to lose: `AutoModel.from_pretrained(FOLDER).save_pretrained(NEW, safe_serialization=True)`."
)

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


def check(folder: Path, *, trust_remote_code: bool = False, commit: str | None = None) -> None:
    """Refuse a folder that isn't safe to load a model from.

    Nothing is executed or unpickled: names, links, JSON files and safetensors headers are read.

    Args:
        folder: A model in Hugging Face format.
        trust_remote_code: Accept code that the configuration points to.
        commit: The commit on the hub that this folder is, without which code is never accepted.

    Raises:
        ArtefactError: With what is wrong and where.
    """
    if trust_remote_code and not re.fullmatch(r"[0-9a-f]{40}", commit or ""):
        raise ArtefactError(
            "`trust_remote_code` was asked for without a commit, so the code could change.",
            fix="Set `model.revision` to the commit hash whose code you have read.",
        )
    _check_files(folder)
    if not (folder / "config.json").is_file() and not (folder / "adapter_config.json").is_file():
        raise ArtefactError(
            f"`{folder}` has no config.json, so it is no model folder.",
            fix="Give a folder with a model in Hugging Face format.",
        )
    for path in _config_files(folder):
        _check_config(path, _read_json(path), allow_code=trust_remote_code)
    _check_weights(folder)


def has_weights(folder: Path) -> bool:
    """Tell whether a folder has safetensors, with all the shards that its index names."""
    try:
        return bool(safetensors_header.weight_files(folder))
    except ArtefactError:
        return False


def check_tokenizer_fits(vocab_size_of_tokenizer: int, embedding_rows: int) -> None:
    """Refuse a tokenizer that makes ids for which the model has no embedding.

    Raises:
        ArtefactError: With both sizes.
    """
    if vocab_size_of_tokenizer > embedding_rows:
        raise ArtefactError(
            f"The tokenizer makes {vocab_size_of_tokenizer} different ids, "
            f"but the model has embeddings for {embedding_rows}.",
            fix="Use the tokenizer that the model was trained with.",
        )


def _entries(folder: Path) -> Iterator[Path]:
    """Yield what lies in a model folder and in the modules of a sentence-transformers one."""
    yield from sorted(folder.iterdir())
    yield from sorted(folder.glob("[0-9]_*/*"))


def _homes(folder: Path) -> list[Path]:
    """Return the folders that links must stay in: in the hub cache, files are links to blobs."""
    real = folder.resolve()
    repository = real.parent.parent
    if real.parent.name != "snapshots" or not (repository / "blobs").is_dir():
        return [real]
    shared = repository.parent / "blobs"  # where one hub cache keeps what its repositories share
    return (
        [repository, shared] if (shared / ".huggingface-shared-blobs").is_file() else [repository]
    )


def _stays(link: Path, homes: list[Path]) -> bool:
    """Tell whether a link ends in one of the folders; one that goes in circles doesn't."""
    try:
        return any(map(link.resolve().is_relative_to, homes))
    except (OSError, RuntimeError):
        return False


def _check_files(folder: Path) -> None:
    """Refuse links that leave the folder, and things that are neither file nor folder."""
    homes = _homes(folder)
    for entry in _entries(folder):
        if entry.is_symlink() and not _stays(entry, homes):
            raise ArtefactError(
                f"`{entry}` is a link that leaves the model folder.",
                fix="Copy the file in its place if you trust it.",
                where=str(entry),
            )
        if entry.exists() and not (
            stat.S_ISREG(mode := entry.stat().st_mode) or stat.S_ISDIR(mode)
        ):
            raise ArtefactError(
                f"`{entry}` is neither a file nor a folder.", fix="Remove it.", where=str(entry)
            )


def _config_files(folder: Path) -> list[Path]:
    """Return the JSON files that the libraries read options from."""
    return [
        entry
        for entry in _entries(folder)
        if entry.is_file()
        and (fnmatch.fnmatch(entry.name, "*config*.json") or entry.name == "modules.json")
    ]


def _read_json(path: Path) -> Any:
    if path.stat().st_size > MAX_CONFIG:
        raise safetensors_header.broken(path, f"it has more than {MAX_CONFIG} bytes")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise safetensors_header.broken(path, f"it is not JSON ({str(error)[:80]})") from None


def _check_config(path: Path, config: Any, *, allow_code: bool) -> None:
    """Refuse the options that make a library run code or fetch something from elsewhere."""
    if path.name == "modules.json":
        modules = config if isinstance(config, list) else []
        kinds = [str(item.get("type")) for item in modules if isinstance(item, dict)]
        if any(not kind.startswith("sentence_transformers.") for kind in kinds) and not allow_code:
            raise _runs_code(path, "a module that is not part of sentence-transformers")
        return
    if path.name in OBJECTS and not isinstance(config, dict):
        raise safetensors_header.broken(path, "it is not a JSON object")
    if path.name == "adapter_config.json":
        raise _adapter(path, config)
    for key, value in _pairs(config):
        if key == "auto_map" and value and not allow_code:
            raise _runs_code(path, "`auto_map`")
        if key == "trust_remote_code" and value:
            raise _trap(path, key, value, "Only you can trust code, not the model.")
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
        f"`{path}` points to code of its own ({what}), which is not run.",
        fix="Choose a model whose architecture is part of transformers.",
        where=str(path),
    )


def _trap(path: Path, key: str, value: object, fix: str) -> ArtefactError:
    return ArtefactError(
        f"`{path}` sets `{key[:80]}` to `{str(value)[:80]}`, which a model must not.",
        fix=fix,
        where=str(path),
    )


def _check_weights(folder: Path) -> None:
    """Refuse weights that are no safetensors, or broken ones."""
    index = folder / safetensors_header.INDEX
    shards = list(folder.glob(safetensors_header.SHARDS))
    if index.is_file():
        safetensors_header.read_index(index)
    elif not (folder / safetensors_header.SINGLE).is_file():
        names = sorted(file.name for file in folder.iterdir() if file.is_file())
        for name in names:
            if any(fnmatch.fnmatch(name.lower(), pattern) for pattern in PICKLES):
                raise ArtefactError(
                    f"`{folder}` has only pickle weights (`{name}`), which are not loaded because "
                    "a pickle can run any program.",
                    fix=CONVERT,
                )
        if shards:
            raise safetensors_header.broken(shards[0], "it is a shard, but there is no index")
    safetensors_header.tensor_names(folder)
    for module in sorted(folder.glob(f"[0-9]_*/{safetensors_header.SINGLE}")):
        safetensors_header.read_header(module)
