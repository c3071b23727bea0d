"""Folders of pictures and recordings, labelled by a metadata file or by their subfolders."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

MEDIA_FORMATS = {"imagefolder": "image", "audiofolder": "audio"}
SUFFIXES = {
    "imagefolder": frozenset({".jpg", ".jpeg", ".png", ".webp"}),
    "audiofolder": frozenset({".wav", ".flac", ".mp3", ".ogg", ".opus"}),
}
METADATA = ("metadata.csv", "metadata.jsonl", "metadata.tsv", "metadata.parquet")
_LOOKED_AT = 1000


def kind_of(root: Path) -> str | None:
    """Return ``imagefolder`` or ``audiofolder`` when a folder holds such files, else None."""
    for item in itertools.islice(root.rglob("*"), _LOOKED_AT):
        for kind, suffixes in SUFFIXES.items():
            if item.suffix.lower() in suffixes and item.is_file():
                return kind
    return None


def metadata_file(root: Path) -> Path | None:
    """Return the file that describes the media of a folder, if there is one."""
    return next((root / name for name in METADATA if (root / name).is_file()), None)


def with_media_column(table: pa.Table, name: str, kind: str) -> pa.Table:
    """Call the column of file names ``image`` or ``audio``.

    Raises:
        DataError: There is no column ``file_name``.
    """
    if "file_name" not in table.column_names:
        raise DataError(
            f"`{name}` has no column `file_name`; it has: "
            f"{', '.join(f'`{column}`' for column in table.column_names)}.",
            fix="Add the column `file_name` with paths relative to that file.",
        )
    called = MEDIA_FORMATS[kind]
    if called in table.column_names:
        return table
    return table.rename_columns(
        [called if column == "file_name" else column for column in table.column_names]
    )


def by_label(root: Path, kind: str) -> tuple[pa.Table, list[str]]:
    """List the files of a folder with one subfolder per label.

    Returns:
        The table of paths and labels, and the path of each row relative to the folder.

    Raises:
        DataError: The files lie in the folder itself, so nothing says what they are.
    """
    import pyarrow as pa

    files = sorted(item for item in root.rglob("*") if item.suffix.lower() in SUFFIXES[kind])
    called = MEDIA_FORMATS[kind]
    paths = [file.relative_to(root).as_posix() for file in files if file.is_file()]
    if not paths:
        wanted = ", ".join(sorted(SUFFIXES[kind]))
        raise DataError(
            f"The folder `{root}` holds no {called} files ({wanted}).",
            fix="Check data.path, or say what it is with data.format.",
        )
    if any("/" not in path for path in paths):
        raise DataError(
            f"`{root}` holds {called} files without a label or a text.",
            fix="Put them into one folder per label, or add a metadata.csv with the columns "
            "`file_name` and `label` or `text`.",
        )
    labels = [path.split("/")[0] for path in paths]
    return pa.table({called: paths, "label": labels}), paths
