"""Write files so that they are complete or absent: the only writer in the project."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from finetune.errors import StorageError

SHORT = -1
"""Stands for the error number that torch's own writer keeps to itself."""

EXPLAINED = {
    SHORT: "the disk is full or broken, for it took fewer bytes than it was given",
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission is denied",
    errno.EPERM: "permission is denied",
    errno.EIO: "the disk reports an input/output error",
    errno.ELOOP: "a symbolic link stands where a file belongs",
    errno.ENOTDIR: "a file stands where a folder belongs",
    errno.EISDIR: "a folder stands where a file belongs",
    errno.EEXIST: "a file stands where a folder belongs",
    errno.ENAMETOOLONG: "the name is too long",
    errno.EFBIG: "the file is larger than this system allows",
    errno.ESTALE: "the network file system has lost the folder",
}


@contextlib.contextmanager
def explained(path: Path, *, needed: int | None = None) -> Iterator[None]:
    """Turn the operating system's refusals into StorageError with what to do.

    Args:
        path: What is written, for the message.
        needed: Its bytes, where they are known.
    """
    try:
        yield
    except Exception as error:
        code = errno_of(error)
        if code not in EXPLAINED:
            raise
        raise StorageError(
            f"Cannot write `{path}`: {EXPLAINED[code]}{free_space(path, code, needed)}.",
            fix=FULL if code in NO_SPACE else ELSEWHERE,
            where=str(path),
        ) from error


NO_SPACE = (errno.ENOSPC, errno.EDQUOT, SHORT)
FULL = "Free some space, then give the same command again: it goes on where it stopped."
ELSEWHERE = "Make it writable, or name another place with run.dir=FOLDER."


def errno_of(error: Exception) -> int | None:
    """Return the system's error number, also where a library gives it as text only, or not."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    if re.search(r"PytorchStreamWriter failed|enforce fail at inline_container", str(error)):
        return SHORT
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found.group(1)) if found else None


def free_space(path: Path, code: int | None, needed: int | None = None) -> str:
    """Return how many bytes are needed and free, when a write failed for want of space."""
    if code not in NO_SPACE:
        return ""
    parent = next((folder for folder in path.parents if folder.exists()), Path("/"))
    wanted = "" if needed is None else f"{needed:,} bytes needed, "
    return f" ({wanted}{shutil.disk_usage(parent).free:,} bytes free)"


def refuse_links(folder: Path) -> None:
    """Refuse a folder of ours in which a symbolic link stands: writing would go where it points.

    The folder itself may be a link, for that is how a run is kept on another disk.

    Raises:
        StorageError: Naming the first link.
    """
    with explained(folder):
        for place, folders, files in os.walk(folder):
            for name in sorted([*folders, *files]):
                if (entry := Path(place, name)).is_symlink():
                    raise StorageError(
                        f"`{entry}` is a symbolic link, which is not followed.",
                        fix="Remove it if you don't know it, or put what it points to in its "
                        "place.",
                        where=str(entry),
                    )


@contextlib.contextmanager
def temporary_file(target: Path, *, needed: int | None = None) -> Iterator[Path]:
    """Yield a new, empty file beside the target that takes its place, synced, if all goes well.

    It is to be written in place. Nobody else can have put it there, and no link is followed.

    Args:
        target: The file to be.
        needed: Its bytes, where they are known.

    Raises:
        StorageError: The disk is full, read-only, or not permitted; nothing is left behind.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    with explained(target, needed=needed):
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor = create(temporary)
        try:
            yield temporary
            # The descriptor is as old as the file: it is told of every write that failed. A sync
            # that fails is never tried again, for the system may have dropped the bytes by then
            # and would report success (what PostgreSQL met in 2018).
            os.fsync(descriptor)
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
        sync_folder(target.parent)


def create(file: Path) -> int:
    """Open an empty file that was not there; a leftover of ours is removed, a link refused."""
    if file.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(file))
    file.unlink(missing_ok=True)
    return os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file; see `temporary_file`."""
    with temporary_file(path, needed=len(content)) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text; see `write_bytes`."""
    write_bytes(path, text.encode("utf-8"))


def strict(value: Any) -> Any:
    """Return the value with non-finite numbers as null, for JSON has none."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): strict(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [strict(item) for item in value]
    return value


def write_json(path: Path, value: Any) -> None:
    """Write strict, indented JSON; see `write_bytes`."""
    write_text(
        path, json.dumps(strict(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    )


def write_jsonl(path: Path, rows: Iterable[Any]) -> None:
    """Write one strict JSON object a line; see `write_bytes`."""
    lines = [json.dumps(strict(row), ensure_ascii=False, allow_nan=False) for row in rows]
    write_text(path, "".join(line + "\n" for line in lines))


def append_line(path: Path, value: Any) -> None:
    """Append one strict JSON line to a log."""
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o644)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(json.dumps(strict(value), ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_bytes())


def read_jsonl(path: Path) -> list[Any]:
    """Read a file of JSON lines; a last line that was cut off by a crash is left out."""
    *lines, last = path.read_bytes().split(b"\n")
    rows = [json.loads(line) for line in lines if line.strip()]
    with contextlib.suppress(ValueError):  # cut within JSON, or within a character of UTF-8
        if last.strip():
            rows.append(json.loads(last))
    return rows


def sync_folder(folder: Path) -> None:
    """Make a rename in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Make every file below a folder durable, whoever wrote it."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        elif path.is_dir():
            sync_folder(path)
    sync_folder(folder)


def sha256(path: Path) -> str:
    """Return the hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove_tree(folder: Path) -> None:
    """Delete a folder of ours; a link is removed, never followed."""
    with explained(folder):
        if folder.is_symlink():
            folder.unlink()
        elif folder.exists():
            shutil.rmtree(folder)


@contextlib.contextmanager
def staged_folder(target: Path, *, needed: int | None = None) -> Iterator[Path]:
    """Yield a fresh folder that takes the target's place, synced, when the block ends well.

    Nobody else may look into it before that; a link in its place is removed, never followed.

    Args:
        target: The folder to be.
        needed: Its bytes, where they are known.
    """
    staging = target.with_name(f".{target.name}.tmp")
    with explained(target, needed=needed):
        remove_tree(staging)
        target.parent.mkdir(parents=True, exist_ok=True)
        staging.mkdir(mode=0o700)
        try:
            yield staging
            staging.chmod(0o777 & ~current_umask())
            sync_tree(staging)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        remove_tree(target)
        staging.replace(target)
        sync_folder(target.parent)


def current_umask() -> int:
    """Return the mask of this process.

    Where the system tells it only by setting it, another thread might make a file meanwhile.
    """
    with contextlib.suppress(OSError, ValueError, IndexError):
        status = Path("/proc/self/status").read_text("utf-8")
        return int(status.partition("Umask:")[2].split()[0], 8)
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
