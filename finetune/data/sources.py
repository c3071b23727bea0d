"""Where data come from: files, folders, patterns, storage, databases, packages, the hub, or rows.

Everything is read into Arrow tables by split name; `""` stands for rows that nobody has cut yet.
Nothing is written: not beside the user's files, and in no cache but the hub's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.data import databases, folders, hub, ids, remote, tables
from finetune.data.concatenation import concatenated
from finetune.data.files import Reading, read_file
from finetune.data.packages import missing, package_folder
from finetune.data.split_files import (
    SPLIT_NAMES,
    SPLIT_ORDER,
    UNCUT,
    by_split,
    data_files,
    inside,
    refuse_different,
)
from finetune.errors import ConfigError, DataError, did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["SPLIT_NAMES", "UNCUT", "Reading", "Source", "gather", "read", "read_rows"]

_WILD = re.compile(r"[*?\[]")


@dataclass
class Source:
    """Rows of one split as they were found.

    Args:
        table: The rows; columns as in the source.
        ids: One id per row: ``train.csv:17`` is the row that begins in line 17 of that file. What
            has no lines is numbered from 1.
        root: Folder that file names in the rows are relative to, and must not leave.
        name: What errors call it.
    """

    table: pa.Table
    ids: Sequence[str]
    root: Path | None
    name: str


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
        path: A file, a folder, a pattern such as ``data/part-*.jsonl``, a URL of object storage or
            of a database, ``package:module/folder`` or a hub id.
        reading: Format, encoding and so on; found when None.

    Returns:
        One source for each split that the path holds, or a single one under `UNCUT`.

    Raises:
        DataError: The path is not there, or cannot be read.
        HubError: A hub data set or a storage cannot be had.
    """
    reading = reading or Reading()
    text = str(path)
    if text.startswith("package:"):
        return _read_local(package_folder(text), reading)
    if isinstance(path, str) and "://" in text:
        return _read_url(text, reading)
    local = Path(text).expanduser()
    if reading.format != "hub" and local.exists():
        return _read_local(local, reading)
    if _WILD.search(text):
        return _read_pattern(local, reading)
    if reading.format == "hub" or hub.looks_like_id(text):
        found = hub.load(text, name=reading.name, revision=reading.revision)
        return {
            SPLIT_NAMES.get(split, split): Source(
                table, ids.numbered(split, table.num_rows), None, text
            )
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
    return Source(table, ids.numbered(name, table.num_rows), None, name)


def _read_url(url: str, reading: Reading) -> dict[str, Source]:
    if databases.is_url(url):
        table, rows, name = databases.read_database(url, reading.query)
        if table.num_rows == 0:
            raise DataError(f"`{name}` holds no rows.", fix="Check data.query.")
        return {UNCUT: Source(table, rows, None, name)}
    with remote.mirrored(url) as local:
        found = _read_local(local, reading) if local.exists() else _read_pattern(local, reading)
    for source in found.values():
        source.root = None  # the copy is gone, and nothing else was fetched
    return found


def _read_local(path: Path, reading: Reading) -> dict[str, Source]:
    if path.is_dir():
        return _read_folder(path, reading)
    return {UNCUT: _read_file(path, path.name, reading)}


def _read_file(path: Path, name: str, reading: Reading) -> Source:
    table, rows = read_file(path, name, reading)
    return Source(table, rows, path.parent.resolve(), name)


def _read_pattern(pattern: Path, reading: Reading) -> dict[str, Source]:
    """Read the files that fit; they are one set of rows, unless their names say several splits."""
    parts = pattern.parts
    fixed = next(index for index, part in enumerate(parts) if _WILD.search(part))
    base = Path(*parts[:fixed])
    fits = base.glob(str(Path(*parts[fixed:]))) if base.is_dir() else ()
    files = sorted(inside(base, file) for file in fits if file.is_file())
    if not files:
        raise DataError(
            f"Nothing fits `{pattern}`.", fix=f"Check the pattern; it is looked for in `{base}`."
        )
    splits = by_split(files)
    if len(splits) == 1 or sum(map(len, splits.values())) < len(files):
        splits = {UNCUT: files}
    reading.messages.append(f"`{pattern.name}` fits {len(files):,} files.")
    return {
        split: _together({file: file.relative_to(base).as_posix() for file in chosen}, reading)
        for split, chosen in splits.items()
    }


def _read_folder(root: Path, reading: Reading) -> dict[str, Source]:
    """Read a folder: of splits, of pictures or recordings, of split files, or of one file."""
    kind = reading.format if reading.format in folders.MEDIA_FORMATS else None
    parts = {
        SPLIT_NAMES[item.name.lower()]: inside(root, item)
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
    splits = by_split(data_files(root, reading.format))
    return _alike(splits, "", reading)


def _read_part(folder: Path, prefix: str, kind: str | None, reading: Reading) -> Source:
    kind = kind or folders.kind_of(folder)
    if kind:
        return _read_media(folder, prefix, kind, reading)
    (source,) = _alike({UNCUT: data_files(folder, reading.format)}, prefix, reading).values()
    return source


def _alike(splits: Mapping[str, list[Path]], prefix: str, reading: Reading) -> dict[str, Source]:
    """Read each split's file, or its numbered shards one after the other."""
    refuse_different(splits)
    return {
        split: _together({file: prefix + file.name for file in files}, reading)
        for split, files in splits.items()
    }


def _read_media(root: Path, prefix: str, kind: str, reading: Reading) -> Source:
    metadata = folders.metadata_file(root)
    if metadata is None:
        table, names = folders.by_label(root, kind)
        rows = ids.listed([prefix + name for name in names])
        return Source(table, rows, root.resolve(), prefix or root.name)
    plain = Reading(
        None,
        reading.encoding,
        reading.delimiter,
        problems=reading.problems,
        messages=reading.messages,
    )
    source = _read_file(inside(root, metadata), prefix + metadata.name, plain)
    source.table = folders.with_media_column(source.table, source.name, kind)
    return source


def _together(named: Mapping[Path, str], reading: Reading) -> Source:
    """Read files one after the other into one source."""
    rows: list[ids.Ids] = []

    def parts() -> Iterator[pa.Table]:
        for file, name in named.items():
            table, part = read_file(file, name, reading)
            rows.append(part)
            yield table

    table = concatenated(parts())
    first = next(iter(named))
    return Source(table, ids.joined(rows), first.parent.resolve(), named[first])
