"""Synthetic training rows: a language model continues a list of real ones, and repeats are dropped.

A proposal is kept when it is neither the same nor nearly the same as a row of any split, so that
no test row comes back as a training row, nor as a proposal kept before it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

from finetune.data import identity
from finetune.data.augmentation.few_shot import Shape
from finetune.errors import ConfigError, DataError, did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

COLUMN = "synthetic"
"""Column of the training rows that says which ones a model made up."""
SPARE = 2
"""Proposals asked for in a round, for each row that is still missing."""
Complete = Callable[[Sequence[str], int], list[str]]
"""(prompts, round) → what the model writes after each prompt."""
Near = Callable[[Sequence["pa.Table"], Sequence[str]], Sequence[int]]
"""(tables, columns) → a number for each row of all tables, equal for rows that are nearly alike."""


@dataclass(frozen=True)
class Synthetic:
    """The training rows with what was added to them."""

    table: pa.Table
    """Training rows, the synthetic ones last; `COLUMN` tells them."""
    audit: dict[str, Any]
    """Rows asked for, proposed and added, why others were dropped, and added rows by label."""
    quarantine: list[dict[str, Any]]
    """A line for each proposal that was dropped."""


def synthesise(
    tables: Mapping[str, pa.Table],
    kinds: Mapping[str, Any],
    *,
    complete: Complete,
    near: Near,
    rows: int,
    seed: int,
    labels: Sequence[str] = (),
    examples: int = 4,
    rounds: int = 4,
    prompt: str | None = None,
) -> Synthetic:
    """Add rows that a model makes up from examples of the training rows.

    Args:
        tables: Canonical rows by split; only those of ``train`` are shown to the model.
        kinds: The task's columns.
        complete: Continues prompts.
        near: Finds rows that are nearly alike.
        rows: How many to add; fewer where the model repeats itself.
        seed: Decides which examples are shown.
        labels: Labels to add rows for, in turn; all of them when empty.
        examples: Training rows in a prompt.
        rounds: How often to ask for what is missing.
        prompt: Template with ``{examples}`` and, for a task with labels, ``{label}``.

    Raises:
        ConfigError: The task has no texts to make up, or a label is unknown.
        DataError: There is no row to show as an example.
    """
    import pyarrow as pa

    shape = Shape.of(kinds)
    train = tables["train"]
    places = members(train, shape, labels)
    known = [table.select(shape.inputs) for table in tables.values() if len(table)]
    counts: Counter[str] = Counter()
    kept: list[dict[str, Any]] = []
    quarantine: list[dict[str, Any]] = []
    for number in range(rounds):
        missing = rows - len(kept)
        if missing <= 0:
            break
        asked = list(
            islice(prompts(train, shape, places, examples, prompt, [seed, number]), missing * SPARE)
        )
        answers = complete([text for _, text in asked], number)
        proposed = [
            (shape.parse(answer, label), answer)
            for (label, _), answer in zip(asked, answers, strict=True)
        ]
        reasons = judged([row for row, _ in proposed], shape, known, kept, near)
        for (row, answer), reason in zip(proposed, reasons, strict=True):
            counts["proposed"] += 1
            if reason is None and row is not None and len(kept) < rows:
                kept.append({"id": f"synthetic:{len(kept) + 1}", **row})
            elif reason is not None:
                counts[reason] += 1
                quarantine.append(
                    {
                        "id": f"synthetic:dropped:{len(quarantine) + 1}",
                        "step": "synthesize",
                        "column": shape.inputs[0],
                        "reason": f"is {reason}",
                        "before": answer,
                    }
                )
    added = pa.Table.from_pylist(kept, train.schema)
    marks = pa.chunked_array([pa.array([False] * len(train) + [True] * len(kept), pa.bool_())])
    table = pa.concat_tables([train, added]).append_column(COLUMN, marks)
    audit = {
        "asked": rows,
        "proposed": counts["proposed"],
        "added": len(kept),
        "dropped": {reason: counts[reason] for reason in ("unusable", "exact", "near")},
    }
    if shape.label:
        audit["by_label"] = dict(sorted(Counter(row[shape.label] for row in kept).items()))
    return Synthetic(table, audit, quarantine)


def members(train: pa.Table, shape: Shape, labels: Sequence[str]) -> dict[str | None, list[int]]:
    """Return the training rows to show, by label; under None where there are no labels."""
    if not len(train):
        raise DataError(
            "`data.synthesize` needs training rows to show as examples, and there are none."
        )
    if shape.label is None:
        if labels:
            raise ConfigError("`data.synthesize.labels` is set, but the task has no labels.")
        return {None: list(range(len(train)))}
    found: dict[str | None, list[int]] = {}
    for place, label in enumerate(train[shape.label].to_pylist()):
        found.setdefault(label, []).append(place)
    problems = [
        f"`data.synthesize.labels` names `{label}`, which is no label of the training rows"
        f"{did_you_mean(label, [str(name) for name in found]) or '.'}"
        for label in labels
        if label not in found
    ]
    if problems:
        raise ConfigError(problems)
    chosen: list[str | None] = [*labels] or sorted(found, key=str)
    return {label: found[label] for label in chosen}


def prompts(
    train: pa.Table,
    shape: Shape,
    places: Mapping[str | None, list[int]],
    examples: int,
    template: str | None,
    seed: Sequence[int],
) -> Iterator[tuple[str | None, str]]:
    """Yield prompts without end, label by label, each with other examples."""
    import numpy as np

    draw = np.random.default_rng(list(seed))
    for label in cycle(places):
        size = min(examples, len(places[label]))
        chosen = draw.choice(places[label], size, replace=False)
        yield label, shape.prompt(train.take(chosen).to_pylist(), label, template)


def judged(
    proposed: Sequence[dict[str, Any] | None],
    shape: Shape,
    known: Sequence[pa.Table],
    kept: Sequence[dict[str, Any]],
    near: Near,
) -> list[str | None]:
    """Return why each proposal is dropped: ``unusable``, ``exact`` or ``near``; None keeps it."""
    import pyarrow as pa

    schema = known[0].schema
    usable = [row for row in proposed if row is not None]
    fresh = pa.Table.from_pylist(
        [{name: row[name] for name in shape.inputs} for row in usable], schema
    )
    before = pa.Table.from_pylist(
        [{name: row[name] for name in shape.inputs} for row in kept], schema
    )
    tables = [*known, before]
    seen = {digest for table in tables for digest in identity.digests(table, shape.inputs)}
    groups = near([*tables, fresh], shape.inputs)
    old = sum(len(table) for table in tables)
    taken = {int(group) for group in groups[:old]}
    found: list[str | None] = []
    for digest, group in zip(
        identity.digests(fresh, shape.inputs), map(int, groups[old:]), strict=True
    ):
        found.append("exact" if digest in seen else "near" if group in taken else None)
        seen.add(digest)
        taken.add(group)
    verdicts = iter(found)
    return ["unusable" if row is None else next(verdicts) for row in proposed]
