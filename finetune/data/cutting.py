"""Three splits of whatever is there: given ones stay, the others are cut as the options say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from finetune.data.problems import rows as plural
from finetune.data.sources import UNCUT
from finetune.data.split import SPLITS, SplitOptions, cut, cut_folds
from finetune.data.spool import filtered
from finetune.data.timeline import cut_by_time, instants
from finetune.data.work import GROUP, TIME, Work
from finetune.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

LARGEST_CLUSTER = 0.05
"""Share of rows from which a cluster of near-duplicates is a template, and may be cut up."""


def cut_up(work: Work, options: SplitOptions) -> None:
    """Make three splits; those that were given are left as they are.

    Args:
        work: Its tables are replaced by train, validation and test.
        options: How to cut.

    Raises:
        DataError: A split stays empty.
    """
    import numpy as np

    shares = options.shares()
    tables = work.tables
    lacking = [split for split in SPLITS if split not in tables and shares[split] > 0]
    if UNCUT in tables:
        origin, parts = UNCUT, dict(shares)
    else:
        origin = "train"
        rest = {split: shares[split] for split in ("train", *lacking)}
        parts = {split: share / sum(rest.values()) for split, share in rest.items()}
        if lacking:
            work.say(
                f"{' and '.join(lacking).capitalize()} {'were' if len(lacking) > 1 else 'was'} "
                f"not given and {'were' if len(lacking) > 1 else 'was'} cut from train."
            )
    before = work.count()
    if origin == UNCUT or lacking:
        part = replace(work, tables={origin: tables.pop(origin)})
        chosen = np.array(_choose(part, origin, parts, options))
        for split in parts:
            tables[split] = filtered(part.tables[origin], chosen == split)
    for split in SPLITS:
        if split not in tables:
            tables[split] = tables["train"].slice(0, 0)
        if tables[split].num_rows == 0 and shares[split] > 0:
            raise DataError(
                f"There are too few rows ({before:,}): nothing is left for {split}.",
                fix="Give more rows (data.max_rows caps them), or give that split its own "
                f"file by data.{split}=FILE.",
            )
    work.tables = {split: tables[split] for split in SPLITS}
    work.step("split", before)


def _choose(
    work: Work,
    origin: str,
    parts: Mapping[str, float],
    options: SplitOptions,
) -> Sequence[str]:
    """Return the split of each row of one table."""
    table = work.tables[origin]
    if options.time:
        times = instants(table[TIME].to_pylist(), table["id"].to_pylist(), options.time)
        chosen, _ = cut_by_time(times, parts)
        return chosen
    labels = work.labels()
    given = labels[origin] if labels else None
    groups = work.questions()[origin]
    if GROUP in table.column_names:
        groups = [repr(value).encode() for value in table[GROUP].to_pylist()]
    elif work.near is not None and options.near_duplicates:
        groups = _joined(work, groups, work.near.connected()[work.places()[origin]])
    if options.folds:
        chosen, said = cut_folds(groups, given, options)
    else:
        chosen, said = cut(groups, given, dict(parts), seed=options.seed, stratify=options.stratify)
    for sentence in said:
        work.say(sentence)
    return chosen


def _joined(work: Work, questions: Sequence[bytes], linked: npt.NDArray[np.int64]) -> list[bytes]:
    """Give all rows that are linked the smallest hash among them, unless they are a template.

    Args:
        work: Is told of templates.
        questions: A hash of the inputs of each row.
        linked: Equal where near-duplicates link rows.
    """
    import numpy as np

    _, family, sizes = np.unique(linked, return_inverse=True, return_counts=True)
    template = sizes > max(2, int(LARGEST_CLUSTER * len(questions)))
    smallest: dict[int, bytes] = {}
    distinct: dict[int, set[bytes]] = {}
    listed = family.tolist()
    for one, question in zip(listed, questions, strict=True):
        smallest[one] = min(smallest.get(one, question), question)
        if template[one]:
            distinct.setdefault(one, set()).add(question)
    varied = {one for one, inputs in distinct.items() if len(inputs) > 1}
    if varied:
        count = int(sizes[list(varied)].sum())
        work.say(
            f"{plural(count)} are variations of {len(varied)} "
            f"template{'s' * (len(varied) > 1)} and were not kept together in one split."
        )
    return [
        question if one in varied else smallest[one]
        for one, question in zip(listed, questions, strict=True)
    ]
