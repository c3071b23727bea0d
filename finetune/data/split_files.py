"""Which files of a folder hold rows, and which split each one is; told by their names alone."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from finetune.data.compression import ARCHIVES, plain_name
from finetune.data.files import FORMATS, format_of
from finetune.errors import DataError

UNCUT = ""
"""The split of rows that nobody has cut yet."""
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "eval": "validation",
    "test": "test",
    "testing": "test",
}
"""What users call their splits, and what we do."""
SPLIT_ORDER = ("train", "validation", "test")
_SHARD = re.compile(r"[-_.]?\d+([-_]of[-_]\d+)?$")
_IGNORED = frozenset({"readme", "license", "licence", "notice", "dataset_info", "dataset_infos"})
_IGNORED_SUFFIXES = frozenset({".md", ".txt", ".lock", ".yaml", ".yml", ".py", ".toml"})
_BESIDE_ARROW = frozenset({"state.json", "dataset_dict.json"})


def inside(root: Path, item: Path) -> Path:
    """Return an item of a folder, unless a link on the way to it leads out.

    Raises:
        DataError: It does.
    """
    if not item.resolve().is_relative_to(root.resolve()):
        raise DataError(
            f"`{item.name}` in `{root}` is reached by a link that leads out of the folder.",
            fix="Copy what it leads to into the folder, or name that file itself.",
        )
    return item


def data_files(root: Path, format: str | None = None) -> list[Path]:
    """Return the files of a folder that hold rows, in the order of their names.

    Args:
        root: The folder.
        format: Only files of this format; ``text`` takes those called ``.txt``.

    Raises:
        DataError: There are none, or one is a link out of the folder.
    """
    there = [
        item
        for item in sorted(root.iterdir())
        if item.is_file() and not item.name.startswith((".", "_"))
    ]
    files = [inside(root, item) for item in there if _holds_rows(item.name, format)]
    if any(file.suffix.lower() == ".arrow" for file in files):
        files = [file for file in files if file.name not in _BESIDE_ARROW]
    if not files:
        archives = [item.name for item in there if item.name.lower().endswith(ARCHIVES)]
        if archives:
            raise DataError(
                f"`{root}` holds an archive, `{archives[0]}`, and archives are not unpacked here.",
                fix="Unpack it, and set data.path to the folder that was in it.",
            )
        raise DataError(
            f"The folder `{root}` holds no data: no csv, tsv, json, jsonl, parquet, arrow, excel, "
            "conll or sqlite file, and no pictures or recordings.",
            fix="Give the file itself by data.path=FILE, or say what it is with data.format.",
        )
    return files


def _holds_rows(name: str, format: str | None) -> bool:
    inner = Path(plain_name(name))
    suffix = inner.suffix.lower()
    if inner.stem.lower() in _IGNORED:
        return False
    if format == "text":
        return suffix == ".txt"
    if suffix in _IGNORED_SUFFIXES:
        return False
    return format_of(inner) in ((format,) if format else FORMATS.values())


def by_split(files: Sequence[Path]) -> dict[str, list[Path]]:
    """Return the files of each split; all of them under `UNCUT` when no name says one."""
    found: dict[str, list[Path]] = {}
    for file in files:
        stem = re.split(r"[-_.]", file.name.lower())[0]
        if stem in SPLIT_NAMES:
            found.setdefault(SPLIT_NAMES[stem], []).append(file)
    return found or {UNCUT: list(files)}


def refuse_different(splits: Mapping[str, Sequence[Path]]) -> None:
    """Refuse files that are not the numbered parts of one, with the settings that choose.

    Raises:
        DataError: A split has files whose names differ by more than a number.
    """
    for split, files in splits.items():
        kinds = {_kind(file) for file in files}
        if len(kinds) > 1:
            raise DataError(
                f"`{files[0].parent}` holds several files"
                f"{f' for the split `{split}`' if split else ''}: "
                f"{', '.join(f'`{file.name}`' for file in files[:8])}.",
                fix=_choice(splits),
            )


def _kind(file: Path) -> str:
    inner = Path(plain_name(file.name))
    return _SHARD.sub("", inner.stem) + inner.suffix


def _choice(splits: Mapping[str, Sequence[Path]]) -> str:
    """Spell the settings that take the files which belong together, such as those of a language."""
    if UNCUT in splits:
        first = splits[UNCUT][0]
        every = first.parent / f"*{first.suffix}"
        return f"Set data.path={_quoted(first)}, or {_setting('path', every)} for all of them."
    together: dict[str, dict[str, Path]] = {}
    for split, files in splits.items():
        for file in files:
            rest = re.sub(r"^[a-z]+[-_.]?", "", _kind(file).lower())
            together.setdefault(rest, {}).setdefault(split, file)
    most = max(len(chosen) for chosen in together.values())
    sets = [
        " ".join(_setting(split, chosen[split]) for split in SPLIT_ORDER if split in chosen)
        for chosen in together.values()
        if len(chosen) == most and "train" in chosen
    ]
    shown = sets or [_setting(split, files[0]) for split, files in splits.items()]
    return f"Set {', or '.join(shown[:4])}."


def _setting(key: str, path: Path) -> str:
    return f"data.{key}={_quoted(path)}"


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
