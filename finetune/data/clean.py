"""Cleaning steps that drop rows, each by name and counted; none runs without being asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

KEEP_FIRST = ("test", "validation", "train", "")
"""Which split keeps a row that several have: the one whose score it would spoil."""


def exact_duplicates(
    row_digests: Mapping[str, Sequence[bytes]], questions: Mapping[str, Sequence[bytes]]
) -> dict[str, list[str]]:
    """Find rows that are there more than once.

    A row is dropped when an earlier one of its split is the same in every canonical column, or when
    a split that is scored later asks the same question.

    Args:
        row_digests: By split, a hash of all canonical columns of each row.
        questions: By split, a hash of the inputs of each row.

    Returns:
        By split, the reason to drop each row, or an empty string to keep it.
    """
    reasons: dict[str, list[str]] = {}
    asked: dict[bytes, str] = {}
    for split in sorted(row_digests, key=KEEP_FIRST.index):
        seen: set[bytes] = set()
        reasons[split] = []
        for row, question in zip(row_digests[split], questions[split], strict=True):
            if row in seen:
                reasons[split].append("is an exact duplicate within its split")
            elif question in asked:
                reasons[split].append(f"asks the same as a row of {asked[question]}")
            else:
                reasons[split].append("")
            seen.add(row)
        for question in questions[split]:
            asked.setdefault(question, split)
    return reasons
