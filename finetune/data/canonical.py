"""Every split brought to canonical columns: mapped, converted, and rid of rows in trouble."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from finetune.data import columns, conversations, preferences, structured, values
from finetune.data.kinds import (
    MEDIA,
    Answers,
    Kind,
    Label,
    Labels,
    Messages,
    Score,
    Tags,
    Text,
    Tokens,
)
from finetune.data.problems import Problems, rows
from finetune.data.sources import UNCUT, Source
from finetune.data.spool import filtered
from finetune.data.work import GROUP, TIME
from finetune.errors import ConfigError

if TYPE_CHECKING:
    import pyarrow as pa


def canonicalise(
    found: Mapping[str, Source],
    kinds: Mapping[str, Kind],
    *,
    said: Mapping[str, str],
    fill: Mapping[str, str],
    keep: Sequence[str],
    working: Mapping[str, str],
    problems: Problems,
    messages: list[str],
) -> tuple[dict[str, pa.Table], dict[str, str]]:
    """Make a table of `id`, canonical and kept columns for each split; media stay file names.

    Args:
        found: The sources by split.
        kinds: The task's canonical columns.
        said: Canonical column → source, by the user.
        fill: Canonical column → what stands in for a missing or blank value.
        keep: Further columns to carry along.
        working: `GROUP` or `TIME` → the column whose values decide how rows are cut.
        problems: Where rows in trouble go.
        messages: Grows by what was recognised.

    Returns:
        The tables, and the source of each canonical column.

    Raises:
        ConfigError: `said` names a canonical column that the task doesn't have.
        DataError: A column is missing, or rows are in trouble and the policy is to refuse.
    """
    ids = _unique_ids(found)
    origins: dict[str, str] = {}
    tables: dict[str, pa.Table] = {}
    for split, source in found.items():
        needed = dict(working) if split in (UNCUT, "train") else {}
        mapping = columns.resolve(
            source.table.schema,
            kinds,
            columns=said,
            keep=tuple(dict.fromkeys((*keep, *needed.values()))),
            name=source.name,
        )
        origins = origins or mapping.sources
        _say(messages, mapping.messages)
        picked = columns.pick(source.table, mapping, kinds)
        for name, value in fill.items():
            if name not in picked or not isinstance(kinds[name], Text | Label):
                raise ConfigError(
                    f"`data.fill.{name}` names no column of texts or labels that is there.",
                    fix=f"Columns are {', '.join(f'`{column}`' for column in picked)}.",
                )
            picked[name], count = values.filled(picked[name], value)
            if count:
                _say(messages, [f"`{name}` was filled in {rows(count)} (data.fill)."])
        tables[split] = _table(
            source,
            ids[split],
            picked,
            kinds,
            keep=keep,
            working=needed,
            problems=problems,
            messages=messages,
        )
    problems.refuse(sum(source.table.num_rows for source in found.values()))
    return _only_shared(tables, origins, messages)


def without(table: pa.Table, dropped: set[int]) -> pa.Table:
    """Return a table without the rows at some places."""
    import numpy as np

    if not dropped:
        return table
    stays = np.ones(table.num_rows, bool)
    stays[sorted(dropped)] = False
    return filtered(table, stays)


def _table(
    source: Source,
    ids: Sequence[str],
    picked: Mapping[str, Any],
    kinds: Mapping[str, Kind],
    *,
    keep: Sequence[str],
    working: Mapping[str, str],
    problems: Problems,
    messages: list[str],
) -> pa.Table:
    import pyarrow as pa

    arrays: dict[str, Any] = {"id": pa.chunked_array([pa.array(ids, pa.string())])}
    wrong: set[int] = set()
    together = preferences.converted(picked, kinds)
    for canonical, column in picked.items():
        arrays[canonical], reasons, notes = together.get(canonical) or _converted(
            kinds[canonical], canonical, column, ids
        )
        _say(messages, notes)
        problems.add_rows(reasons, ids, step="values", column=canonical)
        wrong |= set(reasons)
    for tokens, tags in _pairs(kinds, arrays):
        reasons = structured.together(arrays, tokens, tags)
        problems.add_rows(reasons, ids, step="values", column=tags)
        wrong |= set(reasons)
    for column in keep:
        if column not in arrays:
            arrays[column] = columns.kept(source.table, column)
    for name, column in working.items():
        arrays[name] = columns.kept(source.table, column)
    return without(pa.table(arrays), wrong)


def _pairs(kinds: Mapping[str, Kind], arrays: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the columns of words with the column of their tags."""
    words = [name for name in arrays if isinstance(kinds.get(name), Tokens)]
    tags = [name for name in arrays if isinstance(kinds.get(name), Tags)]
    return list(zip(words, tags, strict=False))


def _converted(kind: Kind, canonical: str, column: Any, ids: Sequence[str]) -> values.Checked:
    import pyarrow as pa

    if isinstance(kind, Messages):
        parts = {
            part: items if isinstance(items, list) else items.to_pylist()
            for part, items in column.items()
        }
        made, reasons, trimmed = conversations.build(parts)
        notes = []
        if trimmed:
            notes = [f"In {rows(trimmed)} the turns behind the assistant's last one were cut off."]
        return pa.chunked_array([pa.array(made, values.messages_type())]), reasons, notes
    if isinstance(kind, MEDIA):
        return (
            (pa.chunked_array([pa.array(column)]) if isinstance(column, list) else column),
            {},
            [],
        )
    if isinstance(kind, Label):
        return values.label_values(column, canonical, ids)
    if isinstance(kind, Score):
        return structured.score_values(column)
    if isinstance(kind, Labels | Tokens | Tags):
        empty = isinstance(kind, Labels)
        return structured.names_values(column, canonical, may_be_empty=empty)
    if isinstance(kind, Answers):
        return structured.answers_values(column)
    return values.text_values(column, canonical, required=kind.required)


def _unique_ids(found: Mapping[str, Source]) -> dict[str, Sequence[str]]:
    """Return the ids of each split, told apart by its name where two files are called the same."""
    every = [row for source in found.values() for row in source.ids]
    if len(set(every)) == len(every):
        return {split: source.ids for split, source in found.items()}
    return {
        split: [f"{split}/{row}" for row in source.ids] if split else source.ids
        for split, source in found.items()
    }


def _only_shared(
    tables: dict[str, pa.Table], origins: dict[str, str], messages: list[str]
) -> tuple[dict[str, pa.Table], dict[str, str]]:
    """Leave out an optional column that some split doesn't have."""
    shared = set.intersection(*(set(table.column_names) for table in tables.values()))
    for name in [name for name in origins if name not in shared]:
        messages.append(f"`{name}` is not in every split and is not used.")
    origins = {name: origin for name, origin in origins.items() if name in shared}
    return {
        split: table.select([c for c in table.column_names if c in shared or c in (GROUP, TIME)])
        for split, table in tables.items()
    }, origins


def _say(messages: list[str], more: Sequence[str]) -> None:
    messages.extend(text for text in dict.fromkeys(more) if text not in messages)
