"""Several sources mixed by weight: no row twice, as many as the weights allow, drawn by content."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from finetune.data import columns as mapping
from finetune.data import identity, ids, media
from finetune.data.concatenation import concatenated
from finetune.data.files import Reading
from finetune.data.problems import rows
from finetune.data.sources import UNCUT, Source, read
from finetune.data.split_files import SPLIT_ORDER
from finetune.data.spool import filtered
from finetune.errors import ConfigError, DataError, did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

OPTIONS = ("format", "encoding", "delimiter", "name", "revision", "header", "sheet", "query")
"""What a source of a mix may say about its reading; the rest is said for all of them."""
_KEYS = ("path", "weight", "columns", *OPTIONS)


def shares(counts: Mapping[str, int], weights: Mapping[str, float]) -> dict[str, int]:
    """Return how many rows to take of each source, so that the weights are their shares.

    The total is the largest that needs no row twice; at least one row of each is taken.

    Args:
        counts: Rows that there are, at least one each.
        weights: Shares, in any unit.
    """
    total = min(counts[name] / weights[name] for name in counts)
    # A hair above, because 0.7 * (7 / 0.7) is less than 7.
    exact = {name: weights[name] * total * (1 + 1e-12) for name in counts}
    return {name: max(1, min(counts[name], math.floor(exact[name]))) for name in counts}


def read_mix(
    mix: Mapping[str, Mapping[str, Any]],
    reading: Reading,
    *,
    seed: int,
    column: str = "source",
    embed: Sequence[str] = (),
) -> dict[str, Source]:
    """Read and mix several sources; what they hold besides training rows is put together whole.

    Args:
        mix: Name → ``path``, ``weight`` (1 when left out), ``columns`` (canonical → source) and
            whatever of `OPTIONS` differs from `reading`.
        reading: Options for all sources; its problems and messages grow.
        seed: Decides which rows are drawn, together with their content.
        column: Column that is added with the name of each row's source; one of that name in a
            source gives way.
        embed: Columns of pictures or recordings. Their files are put into the rows, because each
            source has a folder of its own that they may not leave.

    Returns:
        The sources by split; `UNCUT` when none of them is cut yet.

    Raises:
        ConfigError: An entry lacks a path, has an unknown key or a weight that is not positive.
        DataError: A source cannot be read, or has no rows to train on.
    """
    weights = _weights(mix)
    found = {name: _read_one(name, entry, reading, column) for name, entry in mix.items()}
    first = UNCUT if all(UNCUT in parts for parts in found.values()) else "train"
    training = {}
    for name, parts in found.items():
        if UNCUT in parts and first != UNCUT:
            reading.messages.append(f"`{name}` has no splits: all of it is training data.")
        part = parts.get(UNCUT) or parts.get("train")
        if part is None:
            raise DataError(
                f"`data.mix.{name}` has no training data: only {', '.join(parts)}.",
                fix=f"Give the training file by data.mix.{name}.path.",
            )
        training[name] = part
    counts = {name: part.table.num_rows for name, part in training.items()}
    taken = shares(counts, weights)
    told = ", ".join(f"{taken[name]:,} of {rows(counts[name])} of `{name}`" for name in mix)
    reading.messages.append(f"The mix takes {told}.")
    drawn = {name: _drawn(part, taken[name], seed) for name, part in training.items()}
    mixed = {first: _together(drawn, column, embed, reading)}
    for split in SPLIT_ORDER[1:]:
        there = {name: parts[split] for name, parts in found.items() if split in parts}
        if there:
            mixed[split] = _together(there, column, embed, reading)
    return mixed


def _weights(mix: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    problems = []
    for name, entry in mix.items():
        unknown = [key for key in entry if key not in _KEYS]
        problems += [
            f"`data.mix.{name}.{key}` is not an option{did_you_mean(key, _KEYS) or '.'}"
            for key in unknown
        ]
        if not entry.get("path"):
            problems.append(f"`data.mix.{name}` has no path.")
        weight = entry.get("weight", 1)
        number = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not number or not 0 < weight < math.inf:
            problems.append(f"`data.mix.{name}.weight={weight}` is not a positive number.")
    if not mix or problems:
        raise ConfigError(
            problems or "`data.mix` names no sources.",
            fix="Give each source a path and a weight: data.mix.NAME.path=FILE "
            "data.mix.NAME.weight=0.5.",
        )
    return {name: float(entry.get("weight", 1)) for name, entry in mix.items()}


def _read_one(
    name: str, entry: Mapping[str, Any], reading: Reading, column: str
) -> dict[str, Source]:
    own = {key: entry[key] for key in OPTIONS if entry.get(key) is not None}
    before = len(reading.problems.quarantine)
    found = read(entry["path"], replace(reading, **own))
    for problem in reading.problems.quarantine[before:]:
        problem["id"] = f"{name}/{problem['id']}"
    said = dict(entry.get("columns") or {})
    for source in found.values():
        table = source.table
        for canonical, origin in said.items():
            for part in mapping.names_in(origin):
                if not mapping.exists(table.schema, part):
                    raise DataError(
                        f"`data.mix.{name}.columns.{canonical}` names `{part}`, which "
                        f"`{source.name}` does not have"
                        f"{did_you_mean(part, table.column_names) or '.'} "
                        f"{mapping.described(table.schema)}",
                        fix=f"Set data.mix.{name}.columns.{canonical} to one of them.",
                    )
        made = {canonical: mapping.kept(table, origin) for canonical, origin in said.items()}
        table = table.drop_columns([name for name in table.column_names if name in made])
        if column in table.column_names:
            table = table.drop_columns([column])
            reading.messages.append(
                f"`{column}` of `{source.name}` gives way to the name of the source in the mix."
            )
        for canonical, values in made.items():
            table = table.append_column(canonical, values)
        source.table = table
        source.ids = ids.listed([f"{name}/{row}" for row in source.ids])
    return found


def _drawn(source: Source, count: int, seed: int) -> Source:
    """Return the rows whose content the seed draws, in the order they stand in."""
    import numpy as np

    table = source.table
    if count == table.num_rows:
        return source
    digests = identity.digests(table, table.column_names)
    keys = np.array([identity.drawn(seed, digest) for digest in digests], "S16")
    stays = np.zeros(table.num_rows, bool)
    stays[np.argsort(keys, kind="stable")[:count]] = True
    kept = ids.listed([row for row, stay in zip(source.ids, stays, strict=True) if stay])
    return replace(source, table=filtered(table, stays), ids=kept)


def _together(
    parts: Mapping[str, Source], column: str, embed: Sequence[str], reading: Reading
) -> Source:
    import pyarrow as pa

    every: list[Sequence[str]] = []

    def tables() -> Iterator[pa.Table]:
        for name, source in parts.items():
            table, row_ids = _embedded(source, embed, reading)
            every.append(row_ids)
            yield table.append_column(column, pa.array([name] * table.num_rows, pa.string()))

    table = concatenated(tables())
    joined = ids.joined([ids.listed(list(part)) for part in every])
    return Source(table, joined, None, " + ".join(parts))


def _embedded(
    source: Source, embed: Sequence[str], reading: Reading
) -> tuple[pa.Table, Sequence[str]]:
    """Put pictures and recordings into their rows, and leave out the rows that lack them."""
    import numpy as np

    table, row_ids = source.table, source.ids
    for name in [column for column in embed if column in table.column_names]:
        values, wrong = media.embed(table[name], source.root, row_ids)
        reading.problems.add_rows(wrong, row_ids, step="media", column=name)
        table = table.set_column(table.column_names.index(name), name, values)
        stays = np.ones(table.num_rows, bool)
        stays[list(wrong)] = False
        table = filtered(table, stays)
        row_ids = [row for row, stay in zip(row_ids, stays, strict=True) if stay]
    return table, row_ids
