"""What is true of the data before the first step: duplicates, leakage, conflicts, classes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

SPLIT_ORDER = ("train", "validation", "test")
PAIRS_SHOWN = 20


def duplicates(row_digests: Sequence[bytes]) -> int:
    """Count the rows that repeat an earlier one."""
    return len(row_digests) - len(set(row_digests))


def label_conflicts(questions: Sequence[bytes], labels: Sequence[str]) -> int:
    """Count the rows whose inputs also occur with another label."""
    given: dict[bytes, set[str]] = defaultdict(set)
    for question, label in zip(questions, labels, strict=True):
        given[question].add(label)
    return sum(len(given[question]) > 1 for question in questions)


def leakage(
    questions: Mapping[str, Sequence[bytes]], ids: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """Find pairs of rows that ask the same in different splits.

    Args:
        questions: By split, a hash of the inputs of each row.
        ids: By split, the id of each row.

    Returns:
        ``exact`` (pairs), ``near`` (None: not looked for), ``pairs`` (the first ids),
        ``rows`` (by split, how many rows also occur in train, or in validation for test).
    """
    total = 0
    pairs: list[list[str]] = []
    leaked: dict[str, int] = {}
    for position, later in enumerate(SPLIT_ORDER):
        touched: set[int] = set()
        for earlier in SPLIT_ORDER[:position]:
            where: dict[bytes, list[int]] = defaultdict(list)
            for index, question in enumerate(questions.get(earlier, ())):
                where[question].append(index)
            for index, question in enumerate(questions.get(later, ())):
                found = where.get(question, [])
                if not found:
                    continue
                total += len(found)
                touched.add(index)
                for other in found[: PAIRS_SHOWN - len(pairs)]:
                    pairs.append([ids[earlier][other], ids[later][index]])
        if touched:
            leaked[later] = len(touched)
    return {"exact": total, "near": None, "pairs": pairs, "rows": leaked}


def class_counts(labels: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Count labels over all splits and in each, most frequent first."""
    by_split = {split: Counter(values) for split, values in labels.items()}
    total: Counter[str] = Counter()
    for counts in by_split.values():
        total.update(counts)
    ranked = sorted(total, key=lambda label: (-total[label], label))
    return {
        "classes": {label: total[label] for label in ranked},
        "class_splits": {
            split: {label: counts[label] for label in ranked if counts[label]}
            for split, counts in by_split.items()
        },
    }


def unseen_labels(labels: Mapping[str, Sequence[str]]) -> dict[str, dict[str, int]]:
    """Return, for validation and test, the labels that train doesn't have, with their counts."""
    known = set(labels.get("train", ()))
    unseen = {}
    for split, values in labels.items():
        missing = Counter(label for label in values if label not in known)
        if missing:
            unseen[split] = dict(missing.most_common())
    return unseen
