"""What is there more than once, and what that means for the splits: count, drop, cut, warn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from finetune.data import audit, duplicates
from finetune.data.cutting import cut_up
from finetune.data.problems import rows as plural
from finetune.data.sources import UNCUT
from finetune.data.split import SplitOptions
from finetune.data.work import Work


def repetition(
    work: Work,
    steps: Mapping[str, Mapping[str, Any]],
    options: SplitOptions,
    leakage: Literal["warn", "error"],
) -> None:
    """Find exact and near duplicates, drop those that are to go, cut, and judge what leaks.

    Args:
        work: Its tables become train, validation and test.
        steps: `data.clean`.
        options: How to cut.
        leakage: Whether rows that are in two splits are an error or a warning.

    Raises:
        DataError: Rows leak and that is an error, or a split stays empty.
    """
    exact, near = steps.get("exact_duplicates", {}), steps.get("near_duplicates", {})
    if near.get("action", "skip") != "skip":
        duplicates.find_near(work, threshold=near["threshold"])
    _account(work, exact.get("action"), near.get("action"))
    # What the user's own splits share is a finding, whatever is then removed.
    shared = None if UNCUT in work.tables else duplicates.leakage(work)
    if exact.get("action") == "drop":
        reasons = duplicates.exact_reasons(work.digests(), work.questions())
        duplicates.drop(work, reasons, "exact_duplicates", "exact duplicates")
    if near.get("action") == "drop" and work.near is not None:
        reasons = duplicates.near_reasons(work, work.near)
        duplicates.drop(work, reasons, "near_duplicates", "near duplicates")
    cut_up(work, options)
    left = duplicates.leakage(work)
    work.audit["leakage"] = shared or left
    duplicates.judge_leakage(work, left, leakage)
    work.forget_working_columns()


def _account(work: Work, on_exact: str | None, on_near: str | None) -> None:
    """Write down what is there more than once, before anything is dropped."""
    digests, questions, labels = work.digests(), work.questions(), work.labels()
    exact = audit.duplicates([item for part in digests.values() for item in part])
    near = duplicates.near_count(work.near) if work.near is not None else None
    work.audit["duplicates"] = {"exact": exact, "near": near}
    if exact and on_exact != "drop":
        work.say(f"Exact duplicates: {plural(exact)}; drop them with data.deduplicate=true.")
    if near and work.near is not None:
        work.audit["duplicates"]["clusters"] = duplicates.largest(work, work.near)
    if near and on_near != "drop":
        work.say(
            f"Near duplicates: {plural(near)}; drop them with "
            "data.clean.near_duplicates.action=drop."
        )
    work.audit["label_conflicts"] = 0
    if labels is not None:
        asked = [item for split in questions for item in questions[split]]
        given = [label for split in questions for label in labels[split]]
        conflicts = audit.label_conflicts(asked, given)
        work.audit["label_conflicts"] = conflicts
        if conflicts:
            have = "has" if conflicts == 1 else "have"
            work.say(
                f"{plural(conflicts)} {have} the same input as another with a different label."
            )
