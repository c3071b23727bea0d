"""Text files opened strictly: what doesn't decode is refused, with the place and what to set."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from finetune.data.compression import open_bytes
from finetune.data.guessing import Guess, guess
from finetune.errors import DataError

AUTO = "auto"
MAX_LINE = 64 << 20
"""Characters of the longest line that is read: what is longer is no table, or a bomb."""
_WIDE_BOMS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@contextmanager
def open_text(path: Path, name: str, encoding: str | None) -> Iterator[TextIO]:
    """Open a text file strictly; a byte that doesn't decode is an error that says where it is.

    Args:
        path: The file, which may be compressed.
        name: What errors call it.
        encoding: Its encoding; UTF-8 when None. What `found_encoding` returns for ``auto``.
    """
    codec = _codec(encoding)
    # The signature is a mark of the encoding, and must not end up in the first column's name.
    strict = "utf-8-sig" if codec == "utf-8" else codec
    try:
        if not encoding:
            _refuse_wide(path, name)
        with (
            open_bytes(path, name) as raw,
            io.TextIOWrapper(raw, encoding=strict, errors="strict", newline="") as text,
        ):
            yield text
    except UnicodeDecodeError:
        offset, byte = _first_bad_byte(path, name, strict)
        fix = "Set data.encoding to the encoding it was saved in."
        if codec == "utf-8":
            with open_bytes(path, name) as raw:
                fix = _proposal(guess(raw))
        raise DataError(
            f"`{name}` is not valid {codec.upper()}: byte 0x{byte:02x} at offset {offset:,} does "
            "not decode.",
            fix=fix,
        ) from None


def found_encoding(path: Path, name: str, messages: list[str]) -> str | None:
    """Return the encoding that a file seems to be in, None for UTF-8, and say it.

    Raises:
        DataError: None fits.
    """
    with open_bytes(path, name) as raw:
        found = guess(raw)
    if found.encoding is None:
        raise DataError(
            f"No encoding fits `{name}`{': most of it is UTF-8, but not all' * found.mixed}.",
            fix="Set data.encoding to the encoding it was saved in, or save it as UTF-8.",
        )
    if found.encoding == "utf-8":
        return None
    messages.append(f"`{name}` was read as {found.encoding}, which its bytes fit best.")
    return found.encoding


def lines(text: TextIO, name: str) -> Iterator[str]:
    """Yield the lines of a text, none of them longer than memory can take.

    Raises:
        DataError: A line is too long to be one.
    """
    number = 0
    while line := text.readline(MAX_LINE):
        number += 1
        if len(line) == MAX_LINE and not line.endswith(("\n", "\r")):
            raise DataError(
                f"Line {number:,} of `{name}` is longer than {MAX_LINE:,} characters.",
                fix="Check that it is the format its name says, and cut long rows into several.",
            )
        yield line


def _codec(encoding: str | None) -> str:
    try:
        "".encode(encoding or "utf-8")  # refuses codecs that don't make text, which lookup doesn't
        return codecs.lookup(encoding or "utf-8").name
    except (LookupError, ValueError):
        raise DataError(
            f"`data.encoding={encoding}` is not an encoding that Python knows.",
            fix="Use auto, or a name such as utf-8, cp1252, latin-1 or utf-16.",
        ) from None


def _refuse_wide(path: Path, name: str) -> None:
    """Refuse UTF-16, whose zero bytes would pass for UTF-8 without its signature."""
    with open_bytes(path, name) as raw:
        head = raw.read(4096)
    if head[:2] in _WIDE_BOMS:
        wide = "utf-16"
    elif len(head) > 1 and head.count(0) > len(head) // 3:
        wide = "utf-16-be" if head[0] == 0 else "utf-16-le"
    else:
        return
    raise DataError(f"`{name}` is encoded as UTF-16, not UTF-8.", fix=f"Set data.encoding={wide}.")


def _proposal(found: Guess) -> str:
    if found.mixed:
        return "Most of it is UTF-8, so two encodings are mixed: save the other part as UTF-8."
    if found.encoding is None:
        return "Set data.encoding to the encoding it was saved in, or save it as UTF-8."
    return f"Set data.encoding={found.encoding}, which its bytes fit best, or save it as UTF-8."


def _first_bad_byte(path: Path, name: str, encoding: str) -> tuple[int, int]:
    """Return the offset and value of the first byte that doesn't decode, in a second pass."""
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    offset = 0
    with open_bytes(path, name) as raw:
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
