"""Mojibake that went through an old Macintosh: `å£` for `£`, `‰Ûª` for `’`.

UTF-8 was read as Windows-1252, saved by an Excel for Mac in Mac OS Roman, and read as Windows-1252
again. ftfy doesn't undo it: single-byte mix-ups are ambiguous in general. These are not, as what
comes out has to be UTF-8 twice removed. A well-known copy of the SMS Spam Collection is full of it.
"""

from __future__ import annotations

import re

RUN = re.compile("[åÌ][^\x00-\x7f]|‰Û[^\x00-\x7f]")
"""What the lead bytes C2, C3 and E2 80 have become, with what follows."""
PUNCTUATION = "‘’“”–—…•"
"""What Windows-1252 has where Unicode has control characters."""


def undone(text: str) -> str:
    """Return a text with such sequences put right; all else stays as it is."""
    return RUN.sub(_character, text)


def _character(match: re.Match[str]) -> str:
    run = match[0]
    # Lower-case letters are what a living language puts behind its own `å` and `Ì`.
    if len(run) == 2 and run[1].islower() and run[1].isalpha() and run[1] not in "ªº":
        return run
    try:
        character = run.encode("cp1252").decode("mac_roman").encode("cp1252").decode("utf-8")
        if "\x80" <= character <= "\x9f":
            character = character.encode("latin-1").decode("cp1252")
            return character if character in PUNCTUATION else run
    except UnicodeError:
        return run
    return character
