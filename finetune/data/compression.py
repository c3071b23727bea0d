"""Compressed files as streams of bytes, within limits; archives are refused, never unpacked."""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path
from typing import Any

from finetune.errors import DataError

SUFFIXES = {".gz": "gzip", ".zst": "zstandard"}
ARCHIVES = (".zip", ".tar", ".tgz", ".tbz2", ".txz", ".tzst", ".7z", ".rar", ".jar")
OTHERS = (".bz2", ".xz", ".lz4", ".br", ".lzma", ".z")
FREE_BYTES = 256 << 20
"""What a file may always unpack to, however small it is."""
MAX_RATIO = 200
"""Beyond `FREE_BYTES`: real text stays below 50, a bomb comes near the 1,032 that gzip allows."""
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstandard"}
_ZIP = b"PK\x03\x04"


def plain_name(name: str) -> str:
    """Return a file name without the suffix of a compression: ``x.csv`` for ``x.csv.gz``."""
    path = Path(name)
    return path.stem if path.suffix.lower() in SUFFIXES else path.name


def refuse_archive(path: Path, name: str) -> None:
    """Refuse what holds several files, and compressions that are not read.

    Raises:
        DataError: The name says that it is one.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if any(suffix in ARCHIVES for suffix in suffixes[-2:]):
        raise DataError(
            f"`{name}` is an archive, and archives are not unpacked here.",
            fix="Unpack it, and set data.path to the folder or file that was in it.",
        )
    if suffixes and suffixes[-1] in OTHERS:
        raise DataError(
            f"`{name}` is compressed in a way that is not read ({suffixes[-1]}).",
            fix="Unpack it, or compress it as .gz or .zst.",
        )


def compression_of(path: Path) -> str | None:
    """Return ``gzip``, ``zstandard`` or None, by the name or else by the first bytes."""
    if path.suffix.lower() in SUFFIXES:
        return SUFFIXES[path.suffix.lower()]
    with path.open("rb") as raw:
        head = raw.read(4)
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)


def is_zip(path: Path) -> bool:
    """Tell whether a file is a zip whatever its name, as a workbook or an archive is."""
    with path.open("rb") as raw:
        return raw.read(4) == _ZIP


def open_bytes(path: Path, name: str) -> Any:
    """Open a file for reading its bytes, unpacked.

    Raises:
        DataError: While reading: it is damaged, or unpacks to far more than it can honestly hold.
    """
    kind = compression_of(path)
    if kind is None:
        return path.open("rb")
    return io.BufferedReader(_Unpacked(path, name, kind), 1 << 16)


class _Unpacked(io.RawIOBase):
    """The bytes of a compressed file, counted against its size."""

    def __init__(self, path: Path, name: str, kind: str) -> None:
        self._name, self._kind = name, kind
        self._allowed = max(FREE_BYTES, MAX_RATIO * path.stat().st_size)
        self._count = 0
        self._packed = path.open("rb")
        if kind == "gzip":
            self._stream: Any = gzip.GzipFile(fileobj=self._packed)
        else:
            import zstandard

            self._stream = zstandard.ZstdDecompressor().stream_reader(
                self._packed, read_across_frames=True
            )

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            read = self._stream.read(len(buffer))
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise self._damaged(str(error)) from None
        except Exception as error:  # zstandard's own, which cannot be named before its import
            if type(error).__name__ != "ZstdError":
                raise
            raise self._damaged(str(error)) from None
        self._count += len(read)
        if self._count > self._allowed:
            raise DataError(
                f"`{self._name}` unpacks to more than {self._allowed >> 20:,} MiB, "
                f"{MAX_RATIO} times its size or more: it was stopped.",
                fix="If that is what it should hold, unpack it yourself and give the result.",
            )
        buffer[: len(read)] = read
        return len(read)

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
            self._packed.close()
        super().close()

    def _damaged(self, reason: str) -> DataError:
        return DataError(
            f"`{self._name}` is not a whole {self._kind} file: {reason.rstrip('.')}.",
            fix="Copy or compress it again.",
        )
