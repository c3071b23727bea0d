"""Object storage through fsspec: the files that are needed, streamed to disk and removed again."""

from __future__ import annotations

import posixpath
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from finetune.data.compression import plain_name
from finetune.data.files import format_of
from finetune.data.folders import SUFFIXES
from finetune.errors import DataError, FinetuneError, HubError

STORES = frozenset(
    {
        *("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "oss", "tos", "hdfs"),
        *("webhdfs", "sftp", "ssh", "smb", "dbfs", "hf", "memory", "file", "local", "lakefs"),
    }
)
"""Archives, caches, wrappers and the web, which fsspec can open as well, are no stores."""
_WILD = re.compile(r"[*?\[]")
_CHUNK = 1 << 20


def shown(url: str) -> str:
    """Return a URL without the key that may stand in it."""
    scheme, _, rest = url.partition("://")
    head, slash, tail = rest.partition("/")
    return f"{scheme}://{head.rpartition('@')[2]}{slash}{tail}"


@contextmanager
def mirrored(url: str) -> Iterator[Path]:
    """Fetch what a URL names, and yield its path here: a file, a folder or a pattern.

    Args:
        url: Of a file, of a folder, or with ``*`` and ``?``.

    Raises:
        DataError: The protocol is no object storage, its driver is not installed, or nothing is
            there.
        HubError: The storage cannot be reached, or refuses.
    """
    name = shown(url)
    system, path = _system(url, name)
    with tempfile.TemporaryDirectory(prefix="finetune-") as folder:
        try:
            base, files, there = _wanted(system, path, name)
            for file in files:
                _fetch(system, file, Path(folder, "data"), posixpath.relpath(file, base))
        except FinetuneError:
            raise
        except Exception as error:  # each driver has its own tree of errors
            raise HubError(
                f"`{name}` could not be read ({type(error).__name__}).",
                fix="Check the address, the network, and the keys in this environment.",
            ) from error
        yield Path(folder, "data", there) if there else Path(folder, "data")


def _system(url: str, name: str) -> tuple[Any, str]:
    import fsspec

    scheme = url.partition("://")[0].lower()
    if scheme in ("http", "https", "ftp"):
        raise DataError(
            f"`{name}` is on the web, which is not read from.",
            fix="Download it first, and set data.path to the file.",
        )
    if scheme not in STORES or "::" in url:
        raise DataError(
            f"`{name}` is neither object storage nor a database that is known.",
            fix=f"Use one of {', '.join(sorted(STORES))}, or the URL of a database.",
        )
    try:
        system, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise DataError(
            f"`{name}` needs a Python package that is not installed: {error}.",
            fix=f"pip install {_driver(str(error))}",
        ) from None
    except Exception as error:  # wrong settings, in the driver's own words and types
        raise HubError(
            f"`{name}` could not be opened ({type(error).__name__}).",
            fix="Check the address and the keys in this environment.",
        ) from error
    return system, str(path)


def _driver(words: str) -> str:
    """Return the package that fsspec asks for in sentences such as "Install s3fs to access S3"."""
    found = re.search(r"[Ii]nstall(?: the)? ['\"`]?([\w-]+)", words)
    return found[1] if found else "fsspec[full]"


def _wanted(system: Any, path: str, name: str) -> tuple[str, list[str], str]:
    """Return a folder, the files below it to fetch, and what to read then, relative to it."""
    if _WILD.search(path):
        parts = path.split("/")
        fixed = next(index for index, part in enumerate(parts) if _WILD.search(part))
        base, pattern = "/".join(parts[:fixed]), "/".join(parts[fixed:])
        files = sorted(str(file) for file in system.glob(path) if not system.isdir(file))
        if not files:
            raise DataError(f"Nothing fits `{name}`.", fix="Check the pattern.")
        return base, files, pattern
    if system.isfile(path):
        return posixpath.dirname(path), [path], posixpath.basename(path)
    files = sorted(str(file) for file in system.find(path, maxdepth=2))
    if not files:
        raise DataError(f"`{name}` does not exist.", fix="Check the address.")
    media = frozenset().union(*SUFFIXES.values())
    if any(PurePosixPath(file).suffix.lower() in media for file in files):
        raise DataError(
            f"`{name}` holds pictures or recordings, which are read from a folder here only.",
            fix="Download the folder first, and set data.path to it.",
        )
    return path, [file for file in files if format_of(Path(plain_name(file)))], ""


def _fetch(system: Any, file: str, folder: Path, relative: str) -> None:
    target = (folder / relative).resolve()
    if not target.is_relative_to(folder.resolve()):
        raise DataError("A name in the storage leads out of the folder.", fix="Rename that file.")
    target.parent.mkdir(parents=True, exist_ok=True)
    with system.open(file, "rb") as source, target.open("wb") as sink:
        shutil.copyfileobj(source, sink, _CHUNK)
