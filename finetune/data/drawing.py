"""Fewer rows than there are: the same share of each split, drawn by content and seed."""

from __future__ import annotations

from finetune.data.problems import rows as plural
from finetune.data.sources import UNCUT
from finetune.data.split import SPLITS, draw
from finetune.data.spool import filtered
from finetune.data.work import Work


def draw_rows(work: Work, max_rows: int, seed: int) -> None:
    """Keep at most so many rows, and no label in what is scored that train does not have.

    Args:
        work: Its tables are replaced.
        max_rows: Rows to keep over all splits.
        seed: Of the choice.
    """
    import numpy as np

    before = work.count()
    if before <= max_rows:
        return
    digests, labels, name = work.digests(), work.labels(), work.label_name()
    learnt: set[str] | None = None
    for split in sorted(work.tables, key=(UNCUT, *SPLITS).index):
        table = work.tables[split]
        count = max(1, max_rows * table.num_rows // before)
        given = labels[split] if labels else None
        stays = np.zeros(table.num_rows, bool)
        chooseable = np.arange(table.num_rows)
        if given is not None and learnt is not None:
            # A label that was not drawn for train must not turn up in what is scored.
            known = set(labels["train"]) if labels else set()
            chooseable = np.array(
                [i for i, label in enumerate(given) if label in learnt or label not in known], int
            )
        chosen = draw(
            [digests[split][i] for i in chooseable],
            [given[i] for i in chooseable] if given is not None else None,
            count,
            seed=seed,
        )
        stays[chooseable[np.array(chosen, bool)]] = True
        work.tables[split] = filtered(table, stays)
        if split == "train" and name is not None:
            learnt = set(work.tables[split][name].to_pylist())
    work.say(f"{plural(work.count())} of {before:,} were drawn (data.max_rows).")
    work.step("max_rows", before)
