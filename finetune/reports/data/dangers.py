"""Dangers: what is true of the data that can mislead a model or its figures, for page one."""

from __future__ import annotations

from typing import Any

from finetune.reports import names
from finetune.reports.data import steps
from finetune.reports.facts import dig, identities, objects, records
from finetune.reports.numbers import count, counted, number, share

MANY_SUSPECTS = 0.01
"""Share of suspected labels from which on they are a danger; some are suspected in any data."""
MOST_SUSPECTS = 0.25
"""Share above which the cheap model's own mistakes are the likelier reason, and nothing is said."""
_PAIRS_ON_PAGE_ONE = 3


def dangers(audit: dict[str, Any]) -> list[str]:
    """Return a sentence for each, the gravest first."""
    found = [_leakage(audit), *_labels(audit), *_lengths(audit), _personal(audit), _silent(audit)]
    return [sentence for sentence in found if sentence]


def leaked(audit: dict[str, Any], kind: str) -> tuple[float, bool]:
    """Return how many pairs of rows stand in two splits, and whether they were parted since.

    Args:
        audit: What `prepare` found.
        kind: ``exact`` or ``near``.
    """
    return number(dig(audit, "leakage", kind)) or 0, steps.ran(audit, f"{kind}_duplicates")


def pairs(audit: dict[str, Any], kind: str) -> list[list[str]]:
    """Return the first pairs of ids that stand in two splits."""
    listed = dig(audit, "leakage", "near_pairs" if kind == "near" else "pairs")
    known = listed if isinstance(listed, list) else []
    return [ids for pair in known if len(ids := identities(pair)) > 1]


def undecided(audit: dict[str, Any]) -> float:
    """Return the labels that a cheap model reads otherwise where they are too many to suspect any.

    Earlier runs have listed them as suspects.
    """
    found = number(dig(audit, "label_error_search", "undecided")) or 0
    suspects, judged = _suspects(audit)
    return found or (suspects if judged and suspects > MOST_SUSPECTS * judged else 0)


def _leakage(audit: dict[str, Any]) -> str:
    parts, shown = [], []
    for kind, words in (("exact", "identical"), ("near", "nearly identical")):
        n, parted = leaked(audit, kind)
        if n and not parted:
            parts.append(f"{count(n)} {words}")
            shown += [" = ".join(map(names.shorten, pair)) for pair in pairs(audit, kind)]
    if not parts:
        return ""
    of = "pair of rows" if parts[-1].startswith("1 ") else "pairs of rows"
    such = ", ".join(dict.fromkeys(shown[:_PAIRS_ON_PAGE_ONE]))
    return (
        f"Leakage: {' and '.join(parts)} {of} stand in two of training, validation and test"
        + (f", such as {such}" if such else "")
        + ", so the figures may be too good."
    )


def _labels(audit: dict[str, Any]) -> list[str]:
    found = []
    conflicts = number(audit.get("label_conflicts")) or 0
    if conflicts:
        have = "has the same input" if conflicts == 1 else "have the same input"
        found.append(f"{counted(conflicts, 'row')} {have} as a row with another label.")
    suspects, labelled = _suspects(audit)
    if steps.acted(audit, "label_errors"):
        return found  # the suspects are gone
    if suspects and suspects >= MANY_SUSPECTS * labelled and not undecided(audit):
        of = f" ({share(suspects, labelled)})" if labelled >= suspects else ""
        found.append(
            f"{counted(suspects, 'label')}{of} may be wrong, by the answers of a cheap model: "
            "a person must look at them."
        )
    return found


def _suspects(audit: dict[str, Any]) -> tuple[int, float]:
    """Return the suspected labels and how many were judged."""
    judged = number(dig(audit, "label_error_search", "examined")) or sum(
        number(n) or 0 for n in objects(audit.get("classes")).values()
    )
    return len(records(audit.get("suspected_label_errors"))), judged


def _lengths(audit: dict[str, Any]) -> list[str]:
    found = []
    tokens = objects(audit.get("tokens"))
    truncated = number(tokens.get("truncated_rows")) or 0
    if truncated:
        lost, limit = number(tokens.get("tokens_lost")), number(tokens.get("limit"))
        kept = number(dig(audit, "rows", "kept"))
        of = f" ({share(truncated, kept)})" if kept and kept >= truncated else ""
        tail = f", {counted(lost, 'token')} lost" if lost else ""
        at = f" to {counted(limit, 'token')}" if limit else ""
        were = "was" if truncated == 1 else "were"
        found.append(f"{counted(truncated, 'row')}{of} {were} cut{at}{tail}.")
    untrainable = number(tokens.get("untrainable_rows")) or 0
    if untrainable:
        was = "was" if untrainable == 1 else "were"
        found.append(
            f"{counted(untrainable, 'row')} had nothing left to learn from and {was} unused."
        )
    return found


def _personal(audit: dict[str, Any]) -> str:
    kinds = {key: number(n) or 0 for key, n in objects(audit.get("personal_data")).items()}
    said = [f"{count(n)} × {names.finding(key)}" for key, n in kinds.items() if n]
    if not said or steps.acted(audit, "personal_data"):
        return ""
    return f"Personal data are in the rows and were not masked: {', '.join(said)}."


def _silent(audit: dict[str, Any]) -> str:
    """Speak of recordings whose end the encoder never hears."""
    sound = objects(dig(audit, "tokens", "audio_seconds"))
    known = [
        sound.get("unheard_rows"),
        sound.get("beyond_30"),
        dig(audit, "recordings", "beyond_30"),
    ]
    beyond = next((n for each in known if (n := number(each)) is not None), None)
    if not beyond:
        return ""
    is_are, window = "is" if beyond == 1 else "are", number(sound.get("window")) or 30
    heard = ": sound beyond is not heard, its words stay in the transcript"
    return (
        f"{counted(beyond, 'recording')} {is_are} longer than {window:g} s, the window of the "
        f"encoder{heard if number(known[0]) else ''}."
    )
