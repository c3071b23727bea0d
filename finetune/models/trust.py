"""Refuse a model folder that could run something, lead elsewhere, or is broken."""

from __future__ import annotations

import fnmatch
import stat
from collections.abc import Iterator
from pathlib import Path

from finetune.errors import ArtefactError
from finetune.models import safetensors_header, traps

PICKLES = (
    "*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.pkl", "*.pickle", "*.joblib", "*.msgpack",
    "*.npy", "*.npz", "*.ot", "*.keras", "*.nemo", "*.tar", "*.zip", "*.gz", "*.7z",
)  # fmt: skip
"""Weights in formats that can run a program when they are read, or that hide one that does."""

CONVERT = (
    "Choose a checkpoint saved as safetensors, or convert this one in a sandbox that has nothing "
    "to lose: `AutoModel.from_pretrained(FOLDER).save_pretrained(NEW, safe_serialization=True)`."
)


def check(folder: Path) -> None:
    """Refuse a folder that isn't safe to load a model from.

    Nothing is executed or unpickled: names, links, JSON files and safetensors headers are read.

    Args:
        folder: A model in Hugging Face format.

    Raises:
        ArtefactError: With what is wrong and where.
    """
    check_options(folder)
    if not (folder / "config.json").is_file():
        raise ArtefactError(
            f"`{folder}` has no config.json, so it is no model folder.",
            fix="Give a folder with a model in Hugging Face format.",
        )
    _check_weights(folder)


def check_options(folder: Path) -> None:
    """Refuse a folder whose files lead elsewhere or whose options do; weights are not looked at.

    Raises:
        ArtefactError: With what is wrong and where.
    """
    _check_files(folder)
    for path in _config_files(folder):
        traps.check(path)


def check_finite(folder: Path) -> None:
    """Refuse a model in which a weight is NaN or infinite: nothing that is made of it is sound.

    Raises:
        ArtefactError: Naming the first such tensor.
    """
    if broken := safetensors_header.non_finite(folder):
        raise ArtefactError(
            f"`{folder}` has NaN or infinite weights in {len(broken)} tensors, such as "
            f"`{broken[0][:80]}`.",
            fix="Get the model again; if its publisher's own files are so, choose another one.",
            where=str(folder),
        )


def check_adapter(folder: Path, weights: str) -> None:
    """Refuse an adapter that is broken or whose options make a library import something.

    Args:
        folder: An adapter as PEFT saves it.
        weights: The name of its safetensors file.

    Raises:
        ArtefactError: With what is wrong and where.
    """
    _check_files(folder)
    path = folder / "adapter_config.json"
    for needed in (path, folder / weights):
        if not needed.is_file():
            raise ArtefactError(
                f"`{needed}` is missing.",
                fix="Take the adapter from another checkpoint, or train again.",
                where=str(needed),
            )
    safetensors_header.read_header(folder / weights)
    traps.check_adapter(path)


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
