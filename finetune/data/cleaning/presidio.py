"""Personal data as Microsoft's Presidio finds it, names and places included; an optional extra."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from importlib import import_module
from typing import Any

from finetune.errors import DataError

ENTITIES = {
    "EMAIL_ADDRESS": "email",
    "PHONE_NUMBER": "phone",
    "CREDIT_CARD": "card",
    "IBAN_CODE": "iban",
    "IP_ADDRESS": "ip",
    "PERSON": "person",
    "LOCATION": "place",
}
ALWAYS = ("person", "place")
"""Kinds that only this engine finds: who picks it wants them."""
MASK = re.compile(r"\[(?:EMAIL|PHONE|CARD|IBAN|IP|PERSON|PLACE)\]")


@lru_cache(maxsize=1)
def analyzer() -> Any:
    """Return Presidio's analyser, made once in a process.

    Raises:
        DataError: Presidio, or the spaCy model that it reads names with, is not installed.
    """
    try:
        engine = import_module("presidio_analyzer").AnalyzerEngine
    except ImportError:
        raise DataError(
            "`personal_data.engine=presidio` needs Presidio, which is not installed.",
            fix="Run `pip install finetune[pii]`, or set personal_data.engine=builtin.",
        ) from None
    try:
        return engine()
    # Without a network spaCy ends the process when its model is missing.
    except (OSError, SystemExit):
        raise DataError(
            "Presidio finds no spaCy model to read names with.",
            fix="Run `python -m spacy download en_core_web_lg`, or set "
            "personal_data.engine=builtin.",
        ) from None


def spans(text: str, kinds: Sequence[str]) -> list[tuple[int, int, str]]:
    """Return where personal data stands, in order of place and without overlaps."""
    wanted = [entity for entity, kind in ENTITIES.items() if kind in (*kinds, *ALWAYS)]
    results = analyzer().analyze(text=text, language="en", entities=wanted)
    # A mask looks like a name to a model; to mask it again would never end.
    masked = [match.span() for match in MASK.finditer(text)]
    taken: list[tuple[int, int, str]] = []
    for result in sorted(results, key=lambda one: (-one.score, one.start, -one.end)):
        places = [*masked, *((start, end) for start, end, _ in taken)]
        if all(result.end <= start or end <= result.start for start, end in places):
            taken.append((result.start, result.end, ENTITIES[result.entity_type]))
    return sorted(taken)
