"""Which encoding bytes are in: UTF-8 if they can be, else what charset-normalizer finds best."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

# What exports are saved in; without this list, odd relatives of these are found.
CANDIDATES = [
    *("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256"),
    *("cp932", "gb18030", "big5", "euc_kr", "euc_jp", "koi8_r", "mac_roman"),
]
_SAMPLE_BYTES = 1 << 16
_PIECE_BYTES = 1 << 20
_CONTINUATION = bytes(range(0x80, 0xC0))
_HARDLY_WESTERN = re.compile(rb"[\x8a\x8e\x9a\x9e]")  # Š Ž š ž, the same in both code pages
_SIGN_IN_WORD = re.compile(r"[a-zß-ÿ][¹³¿¾º¼£¥¶][a-zß-ÿ]", re.IGNORECASE)


@dataclass
class Guess:
    """What bytes seem to be.

    Args:
        encoding: The encoding; None when none fits.
        mixed: Most of it is UTF-8, so that another encoding would spoil more than it mends.
    """

    encoding: str | None
    mixed: bool = False


def guess(raw: IO[bytes]) -> Guess:
    """Find the encoding of a file from all its lines, in constant memory.

    Args:
        raw: The file, opened for bytes.
    """
    sample = bytearray()
    right = wrong = 0
    for index, line in enumerate(_pieces(raw)):
        if index == 0 and line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return Guess("utf-16")
        if index == 0 and len(line) > 1 and line.count(0) > len(line) // 3:
            return Guess("utf-16-be" if line[0] == 0 else "utf-16-le")
        if line.isascii():
            continue
        try:
            codecs.utf_8_decode(line, "strict", False)  # a long line's piece may end in a character
            right += 1
        except UnicodeDecodeError:
            wrong += 1
            if len(sample) < _SAMPLE_BYTES:
                sample += line[:_SAMPLE_BYTES]
    if not wrong:
        return Guess("utf-8")
    if right > wrong:
        return Guess(None, mixed=True)
    return Guess(_of_sample(bytes(sample)))


def _pieces(raw: IO[bytes]) -> Iterator[bytes]:
    """Yield lines, the long ones in pieces that don't begin inside a character of UTF-8."""
    cut = False
    while piece := raw.readline(_PIECE_BYTES):
        yield piece.lstrip(_CONTINUATION) if cut else piece
        cut = len(piece) == _PIECE_BYTES and not piece.endswith(b"\n")


def _of_sample(sample: bytes) -> str | None:
    import charset_normalizer

    best = charset_normalizer.from_bytes(sample, cp_isolation=CANDIDATES).best()
    found: str | None = best.encoding if best else None
    if found in (None, "cp1250", "mac_roman"):
        # The code pages of Western and Central Europe share most letters, and the library prefers
        # the wrong one: café is the same in both.
        return _european(sample) or found
    return found


def _european(sample: bytes) -> str | None:
    try:
        text = sample.decode("cp1252")
    except UnicodeDecodeError:  # 0x9d is ť in one and nothing in the other
        return None
    letters = sum(byte > 127 for byte in sample)
    strange = len(_SIGN_IN_WORD.findall(text)) + len(_HARDLY_WESTERN.findall(sample))
    # A few are mojibake inside the text, or a Slavic name in a Western one.
    if strange > letters // 20:
        return "cp1250"
    return "cp1252"
