"""Which separator a table has: said by the user and checked, or found and said."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from finetune.errors import ConfigError, DataError

DELIMITERS = (",", "\t", ";", "|")
SAMPLE = 1 << 16
NONE = "\x1f"
"""The unit separator: in no text that people write, so it cuts nothing."""
SPELT = {"tab": "\t", "\\t": "\t", "none": NONE}
_LINES = 50
_AGREE = 0.9


def choose(
    sample: str,
    name: str,
    format: str,
    delimiter: str | None,
    header: Sequence[str] | None,
    messages: list[str],
) -> str:
    """Return the separator of a table.

    Args:
        sample: The beginning of the file.
        name: What the file is called.
        format: ``csv`` or ``tsv``.
        delimiter: What the user said: a character, ``tab``, or ``none`` for a single column.
        header: Column names, when the file has none of its own.
        messages: Grows by what was recognised.

    Raises:
        ConfigError: What the user said is not one character.
        DataError: What the user said leaves one column, where another separator makes several.
    """
    default = "\t" if format == "tsv" else ","
    found = sniff(sample, default, header)
    if delimiter:
        return _checked(SPELT.get(delimiter, delimiter), found, sample, name, header)
    if found is None:
        if not _uneven(sample, default, header):
            return default
        messages.append(f"`{name}` has one column: {_spelt(default)} in its values is text.")
        return NONE
    if found != default:
        messages.append(f"`{name}` is separated by {_spelt(found)}.")
    return found


def sniff(sample: str, default: str, header: Sequence[str] | None = None) -> str | None:
    """Return the separator that cuts the header and most lines into the same number of fields.

    None when there is only one column whatever cuts it.
    """

    def score(candidate: str) -> tuple[bool, int, bool]:
        first, *others = _widths(sample, candidate, header) or [0]
        agree = first > 1 and others.count(first) >= _AGREE * len(others)
        return agree, first, candidate == default

    best = max(DELIMITERS, key=score)
    if header and not score(best)[0]:
        return sniff(sample, default)  # too many names, or too few: the lines still agree
    return best if score(best)[1] > 1 else None


def _widths(sample: str, separator: str, header: Sequence[str] | None) -> list[int]:
    """Return the number of fields in the header and in each of the first lines."""
    reader = csv.reader(io.StringIO(sample, newline=""), delimiter=separator)
    widths = []
    try:
        for row in reader:
            widths.append(len(row))
            if len(widths) > _LINES:
                break
    except csv.Error:  # a field longer than the parser's limit
        pass
    complete = widths[:-1] if len(widths) > 1 and len(sample) >= SAMPLE else widths
    filled = [width for width in complete if width]
    return [len(header), *filled] if header else filled


def _uneven(sample: str, separator: str, header: Sequence[str] | None) -> bool:
    """Tell whether a separator cuts the rows into differing numbers of fields, as commas do.

    Where it cuts all of them alike, a name is missing in the header: that is a mistake to report.
    """
    return len(set(_widths(sample, separator, header)[1:])) > 1


def _checked(
    given: str, found: str | None, sample: str, name: str, header: Sequence[str] | None
) -> str:
    if len(given) != 1 or given in '"\r\n':
        raise ConfigError(
            f"`data.delimiter={given}` is not a single character.",
            fix="Give one character, tab, or none for a table of one column.",
        )
    first = (_widths(sample, given, header) or [0])[0]
    if given != NONE and found not in (None, given) and first == 1 and not header:
        raise DataError(
            f"`{name}` has one column when cut at {_spelt(given)}, and seems to be separated by "
            f"{_spelt(found or '')}.",
            fix="Leave data.delimiter out: the separator is found. For one column, set "
            "data.delimiter=none.",
        )
    return given


def _spelt(separator: str) -> str:
    return "tabs" if separator == "\t" else repr(separator)
