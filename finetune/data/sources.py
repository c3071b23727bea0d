"""Where data come from: a file, a folder, an installed package, the hub, or rows in memory.

Everything is read into Arrow tables by split name; `""` stands for rows that nobody has cut yet.
Nothing is written: not beside the user's files, and in no cache but the hub's own.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from finetune.data import folders, hub, tables
from finetune.data.problems import Problems
from finetune.errors import ConfigError, DataError, did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

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
UNCUT = ""
SPLIT_ORDER = ("train", "validation", "test")
_SHARD = re.compile(r"[-_.]?\d+([-_]of[-_]\d+)?$")
_IGNORED = frozenset({"readme", "license", "licence", "notice", "dataset_info", "dataset_infos"})
_IGNORED_SUFFIXES = frozenset({".md", ".txt", ".lock", ".yaml", ".yml", ".py", ".toml"})


@dataclass
class Source:
    """Rows of one split as they were found.

    Args:
        table: The rows; columns as in the source.
        ids: One id per row, such as ``train.csv:17``, counted from 1.
        root: Folder that file names in the rows are relative to, and must not leave.
        name: What errors call it.
    """

    table: pa.Table
    ids: list[str]
    root: Path | None
    name: str


@dataclass
class Reading:
    """Options that say how to read, and what was noticed while reading."""

    format: str | None = None
    encoding: str | None = None
    delimiter: str | None = None
    name: str | None = None
    revision: str | None = None
    problems: Problems = field(default_factory=Problems)
    messages: list[str] = field(default_factory=list)


def gather(
    reading: Reading, given_rows: Any, path: str | Path | None, paths: Mapping[str, Any]
) -> dict[str, Source]:
    """Read everything that was named; a split's own file goes before what a folder holds.

    Args:
        reading: Options; its messages grow.
        given_rows: Rows from Python, instead of any path.
        path: What holds all splits, or what is to be cut.
        paths: A path for each split that has its own.

    Raises:
        ConfigError: Nothing is named, or rows and a path at once.
        DataError: There is nothing to train on, or what is named cannot be read.
    """
    named = {split: item for split, item in paths.items() if item}
    if given_rows is not None:
        if path or named:
            raise ConfigError("Both rows and a path were given.", fix="Pass one of them.")
        found = read_rows(given_rows)
    elif path is None and not named:
        raise ConfigError(
            "No data are named.", fix="Set data.path=FILE_OR_FOLDER, or data.train=FILE."
        )
    else:
        found = {}
        if "train" not in named:
            if path is None:
                raise DataError("There is no training data.", fix="Set data.train or data.path.")
            found = read(path, reading)
            if named and UNCUT in found:
                found["train"] = found.pop(UNCUT)
        elif path is not None:
            reading.messages.append("`data.path` is not used, because `data.train` is given.")
        for split, item in named.items():
            parts = read(item, reading)
            part = parts.get(split, parts.get(UNCUT))
            if part is None:
                raise DataError(
                    f"`{item}` holds the splits {', '.join(parts)}, but no {split}.",
                    fix=f"Give the file that is meant by data.{split}.",
                )
            found[split] = part
    extra = [split for split in found if split not in (*SPLIT_ORDER, UNCUT)]
    for split in extra:
        reading.messages.append(f"The split `{split}` is not used.")
        del found[split]
    if UNCUT not in found and "train" not in found:
        raise DataError(
            f"There is no training data: only {', '.join(found) or 'other splits'}.",
            fix="Set data.train, or data.path to the file that is to be cut into splits.",
        )
    return found


def read(path: str | Path, reading: Reading | None = None) -> dict[str, Source]:
    """Read everything that a path names, by split.

    Args:
        path: A file, a folder, ``package:module/folder`` or a hub id.
        reading: Format, encoding and so on; found when None.

    Returns:
        One source for each split that the path holds, or a single one under `UNCUT`.

    Raises:
        DataError: The path is not there, or cannot be read.
        HubError: A hub data set cannot be had.
    """
    reading = reading or Reading()
    text = str(path)
    if text.startswith("package:"):
        return _read_local(package_folder(text), reading)
    local = Path(text).expanduser()
    if reading.format != "hub" and local.exists():
        return _read_local(local, reading)
    if reading.format == "hub" or hub.looks_like_id(text):
        found = hub.load(text, name=reading.name, revision=reading.revision)
        return {
            SPLIT_NAMES.get(split, split): Source(table, _numbered(split, table), None, text)
            for split, table in found.items()
        }
    raise missing(local)


def read_rows(rows: Any) -> dict[str, Source]:
    """Take rows from Python: a list of dictionaries, or one list for each split."""
    if isinstance(rows, Mapping):
        unknown = [str(name) for name in rows if str(name) not in SPLIT_NAMES]
        for other in unknown[:1]:
            raise ConfigError(
                f"`rows` names the split `{other}`{did_you_mean(other, SPLIT_NAMES) or '.'}",
                fix="Use train, validation and test, or pass one list.",
            )
        return {SPLIT_NAMES[name]: _of_rows(part, name) for name, part in rows.items()}
    return {UNCUT: _of_rows(rows, "rows")}


def _of_rows(rows: Any, name: str) -> Source:
    listed = list(rows)
    if not listed:
        raise DataError(f"`{name}` holds no rows.", fix="Pass at least one row.")
    table = tables.table_of_rows(listed, f"`{name}`")
    return Source(table, _numbered(name, table), None, name)


def package_folder(text: str) -> Path:
    """Find ``package:module/folder`` on disk without importing the module."""
    module, _, inside = text.removeprefix("package:").partition("/")
    top, *deeper = module.split(".")
    # find_spec imports the parents of a dotted name, so only the top one is asked for.
    spec = importlib.util.find_spec(top) if top.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise DataError(
            f"`{text}` needs the Python package `{top}`, which is not installed.",
            fix=f"Install the distribution that holds `{top}`, or give a folder.",
        )
    root = Path(next(iter(spec.submodule_search_locations))).resolve()
    folder = root.joinpath(*deeper, inside).resolve()
    if not folder.is_relative_to(root):
        raise DataError(f"`{text}` leaves the package.", fix="Name a folder inside it.")
    if not folder.exists():
        raise missing(folder, called=text)
    return folder


def missing(path: Path, called: str = "") -> DataError:
    """Say that a path is not there, with the nearest names that are."""
    parent = next((folder for folder in path.parents if folder.is_dir()), Path())
    absent = path.relative_to(parent).parts[0] if path.is_relative_to(parent) else path.name
    try:
        there = sorted(item.name for item in parent.iterdir())
    except OSError:
        there = []
    return DataError(
        f"`{called or path}` does not exist{did_you_mean(absent, there) or '.'}",
        fix=f"Check the path; `{parent}` was found, `{absent}` in it was not.",
    )


def _read_local(path: Path, reading: Reading) -> dict[str, Source]:
    if path.is_dir():
        return _read_folder(path, reading)
    return {UNCUT: _read_file(path, path.name, reading)}


def _read_file(path: Path, name: str, reading: Reading) -> Source:
    format = reading.format or tables.format_of(path)
    if format is None or format in ("imagefolder", "audiofolder", "hub"):
        raise DataError(
            f"`{name}` is in no format that is known by its name.",
            fix="Set data.format to csv, tsv, json, jsonl, parquet or arrow.",
        )
    try:
        table = tables.read_table(
            path,
            format=format,
            name=name,
            encoding=reading.encoding,
            delimiter=reading.delimiter,
            problems=reading.problems,
            messages=reading.messages,
        )
    except PermissionError:
        raise DataError(
            f"`{name}` may not be read by this user.", fix="Give read permission on it."
        ) from None
    return Source(table, _numbered(name, table), path.parent.resolve(), name)


def _read_folder(root: Path, reading: Reading) -> dict[str, Source]:
    """Read a folder: of splits, of pictures or recordings, of split files, or of one file."""
    kind = reading.format if reading.format in folders.MEDIA_FORMATS else None
    parts = {
        SPLIT_NAMES[item.name.lower()]: item
        for item in sorted(root.iterdir())
        if item.is_dir() and item.name.lower() in SPLIT_NAMES
    }
    if parts:
        return {
            split: _read_part(folder, f"{folder.name}/", kind, reading)
            for split, folder in parts.items()
        }
    kind = kind or folders.kind_of(root)
    if kind:
        return {UNCUT: _read_media(root, "", kind, reading)}
    return _read_files(root, reading)


def _read_part(folder: Path, prefix: str, kind: str | None, reading: Reading) -> Source:
    kind = kind or folders.kind_of(folder)
    if kind:
        return _read_media(folder, prefix, kind, reading)
    (source,) = _concatenated({UNCUT: _data_files(folder)}, prefix, reading).values()
    return source


def _read_media(root: Path, prefix: str, kind: str, reading: Reading) -> Source:
    metadata = folders.metadata_file(root)
    if metadata is None:
        table, names = folders.by_label(root, kind)
        return Source(table, [prefix + name for name in names], root.resolve(), prefix or root.name)
    plain = Reading(None, reading.encoding, reading.delimiter, problems=reading.problems)
    source = _read_file(metadata, prefix + metadata.name, plain)
    source.table = folders.with_media_column(source.table, source.name, kind)
    return source


def _read_files(root: Path, reading: Reading) -> dict[str, Source]:
    files = _data_files(root, reading.format)
    by_split: dict[str, list[Path]] = {}
    for file in files:
        stem = re.split(r"[-_.]", file.name.lower())[0]
        if stem in SPLIT_NAMES:
            by_split.setdefault(SPLIT_NAMES[stem], []).append(file)
    return _concatenated(by_split or {UNCUT: files}, "", reading)


def _concatenated(
    by_split: Mapping[str, Sequence[Path]], prefix: str, reading: Reading
) -> dict[str, Source]:
    """Read each split's file, or its numbered shards one after the other."""
    import pyarrow as pa

    found = {}
    for split, files in by_split.items():
        if len({_SHARD.sub("", _stem(file)) + file.suffix for file in files}) > 1:
            raise DataError(
                f"`{files[0].parent}` holds several files"
                f"{f' for the split `{split}`' if split else ''}: "
                f"{', '.join(f'`{file.name}`' for file in files[:8])}.",
                fix="Name the ones to use: data.train=FILE data.test=FILE, or data.path=FILE.",
            )
        shards = [_read_file(file, prefix + file.name, reading) for file in files]
        table = pa.concat_tables([shard.table for shard in shards], promote_options="permissive")
        ids = [row for shard in shards for row in shard.ids]
        found[split] = Source(table, ids, shards[0].root, shards[0].name)
    return found


def _stem(file: Path) -> str:
    return PurePosixPath(file.name.removesuffix(".gz")).stem


def _data_files(root: Path, format: str | None = None) -> list[Path]:
    files = [
        item
        for item in sorted(root.iterdir())
        if item.is_file()
        and not item.name.startswith((".", "_"))
        and item.suffix.lower() not in _IGNORED_SUFFIXES
        and _stem(item).lower() not in _IGNORED
        and tables.format_of(item) in ((format,) if format else tables.FORMATS.values())
    ]
    if not files:
        raise DataError(
            f"The folder `{root}` holds no data: no csv, tsv, json, jsonl, parquet or arrow file, "
            "and no pictures or recordings.",
            fix="Give the file itself by data.path=FILE, or say what it is with data.format.",
        )
    return files


def _numbered(name: str, table: pa.Table) -> list[str]:
    return [f"{name}:{number}" for number in range(1, table.num_rows + 1)]
