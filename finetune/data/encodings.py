"""Text files opened strictly: what doesn't decode is refused, with the place and what to set."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from finetune.errors import DataError

_WIDE_BOMS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@contextmanager
def open_text(path: Path, name: str, encoding: str | None) -> Iterator[TextIO]:
    """Open a text file strictly; a byte that doesn't decode is an error that says where it is."""
    try:
        "".encode(encoding or "utf-8")  # refuses codecs that don't make text, which lookup doesn't
        codec = codecs.lookup(encoding or "utf-8").name
    except LookupError:
        raise DataError(
            f"`data.encoding={encoding}` is not an encoding that Python knows.",
            fix="Use a name such as utf-8, cp1252, latin-1 or utf-16.",
        ) from None
    # The signature is a mark of the encoding, and must not end up in the first column's name.
    strict = "utf-8-sig" if codec == "utf-8" else codec
    try:
        with _open_bytes(path) as raw:
            head = raw.read(2)
        if not encoding and head in _WIDE_BOMS:
            raise DataError(
                f"`{name}` is encoded as UTF-16, not UTF-8.", fix="Set data.encoding=utf-16."
            )
        with (
            _open_bytes(path) as raw,
            io.TextIOWrapper(raw, encoding=strict, errors="strict", newline="") as text,
        ):
            yield text
    except UnicodeDecodeError:
        offset, byte = _first_bad_byte(path, strict)
        fix = (
            "Set data.encoding=cp1252 if it was saved by a Western Windows program, or save it "
            "as UTF-8."
            if codec == "utf-8"
            else "Set data.encoding to the encoding it was saved in."
        )
        raise DataError(
            f"`{name}` is not valid {codec.upper()}: byte 0x{byte:02x} at offset {offset:,} does "
            "not decode.",
            fix=fix,
        ) from None
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(
            f"`{name}` is not a whole gzip file: {error}.", fix="Copy or compress it again."
        ) from None


def _open_bytes(path: Path) -> Any:
    return gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb")


def _first_bad_byte(path: Path, encoding: str) -> tuple[int, int]:
    """Return the offset and value of the first byte that doesn't decode, in a second pass."""
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    offset = 0
    with _open_bytes(path) as raw:
        while True:
            chunk = raw.read(1 << 20)
            pending = len(decoder.getstate()[0])
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                return offset - pending + error.start, error.object[error.start]
            if not chunk:
                return offset, 0
            offset += len(chunk)
