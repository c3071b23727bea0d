"""Labels that are probably wrong: searched for over all splits, ranked, and dropped when asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from finetune.data.kinds import Audio, Image, Text
from finetune.data.problems import places
from finetune.data.problems import rows as plural
from finetune.data.spool import filtered
from finetune.data.work import Work

if TYPE_CHECKING:
    import numpy as np


def suspect_labels(work: Work, options: Mapping[str, Any], *, seed: int) -> None:
    """Look for labels that a simple model, which has not seen the row, finds wrong.

    Args:
        work: Training rows are dropped from it when the action is `drop`.
        options: `data.clean.label_errors`.
        seed: Of the folds.
    """
    from finetune.data.label_errors import suspects

    work.audit["suspected_label_errors"] = []
    labels, action = work.labels(), options.get("action", "skip")
    if labels is None or action == "skip":
        return
    inputs = _inputs(work)
    if inputs is None:
        return
    ids = work.ids()
    found = suspects(
        inputs,
        [label for split in work.tables for label in labels[split]],
        [row for split in work.tables for row in ids[split]],
        seed=seed,
    )
    work.audit["suspected_label_errors"] = found.suspects
    work.audit["label_error_search"] = {
        "rows": found.rows,
        "examined": found.examined,
        "sampled": found.sampled,
        "undecided": found.undecided,
    }
    if found.undecided:
        work.say(
            f"Label errors: a simple model reads {found.undecided} of {plural(found.examined)} "
            "otherwise, too many to tell wrong labels from its own mistakes: too little data."
        )
    if not found.suspects:
        return
    told = places(str(one["id"]) for one in found.suspects)
    count = len(found.suspects)
    work.say(
        f"Suspected label errors: {plural(count)} that a simple model reads otherwise: {told}; "
        "the report ranks them."
    )
    if action == "drop":
        _drop(work, {str(one["id"]) for one in found.suspects})


def _inputs(work: Work) -> list[str | None] | np.ndarray[Any, Any] | None:
    """Return what rows are judged by: their texts joined, or features of a picture or sound."""
    asked = work.inputs()
    for name in asked:
        if isinstance(work.kinds[name], Image | Audio):
            from finetune.data.label_features import picture_features, sound_features

            columns = [table[name] for table in work.tables.values()]
            heard = isinstance(work.kinds[name], Audio)
            return sound_features(columns) if heard else picture_features(columns)
    texts = [name for name in asked if isinstance(work.kinds[name], Text)]
    if not texts:
        return None
    joined: list[str | None] = []
    for table in work.tables.values():
        columns = [table[name].to_pylist() for name in texts]
        joined += ["\n".join(value for value in row if value) for row in zip(*columns, strict=True)]
    return joined


def _drop(work: Work, suspected: set[str]) -> None:
    import numpy as np

    before, table = work.count(), work.tables["train"]
    ids = table["id"].to_pylist()
    stays = np.array([row not in suspected for row in ids], bool)
    for index in np.flatnonzero(~stays).tolist():
        row = table.slice(index, 1).select(["id", *work.sources]).to_pylist()[0]
        work.problems.set_aside(row, step="label_errors", reason="has a label that is suspected")
    work.tables["train"] = filtered(table, stays)
    work.step("label_errors", before)
