"""From a path or rows to three splits that can be trusted, with an account of what was done.

Everything stays in Arrow tables in memory; the only writer is the caller.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from finetune.data import audit, clean, identity, media, sources
from finetune.data.canonical import GROUP, canonicalise, without
from finetune.data.kinds import MEDIA, Kind, input_columns, label_column
from finetune.data.problems import OnInvalid, Problems, places
from finetune.data.problems import rows as plural
from finetune.data.split import SPLITS, SplitOptions, cut, draw
from finetune.errors import DataError

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

__all__ = ["Prepared", "SplitOptions", "prepare"]

UNCUT = sources.UNCUT


@dataclass
class Prepared:
    """What later stages read.

    Args:
        splits: Train, validation and test, each with `id`, the canonical and the kept columns.
        audit: What `data/audit.json` holds.
        fingerprints: Sha256 of the content of each split.
        quarantine: Rows that were set aside: id, step, column, reason.
    """

    splits: dict[str, datasets.Dataset]
    audit: dict[str, Any]
    fingerprints: dict[str, str]
    quarantine: list[dict[str, Any]]


@dataclass
class _Work:
    """The state that the steps pass on."""

    tables: dict[str, pa.Table]
    kinds: Mapping[str, Kind]
    problems: Problems
    messages: list[str]
    steps: list[dict[str, Any]] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)

    def count(self) -> int:
        return sum(table.num_rows for table in self.tables.values())

    def step(self, name: str, before: int) -> None:
        self.steps.append({"name": name, "rows_in": before, "rows_out": self.count()})

    def digests(self) -> dict[str, list[bytes]]:
        names = list(self.sources)
        return {split: identity.digests(table, names) for split, table in self.tables.items()}

    def questions(self) -> dict[str, list[bytes]]:
        present = {name: self.kinds[name] for name in self.sources}
        asked = input_columns(present)
        return {split: identity.questions(table, asked) for split, table in self.tables.items()}

    def labels(self) -> dict[str, list[str]] | None:
        name = label_column(self.kinds)
        if name is None or name not in self.sources:
            return None
        return {split: table[name].to_pylist() for split, table in self.tables.items()}

    def ids(self) -> dict[str, list[str]]:
        return {split: table["id"].to_pylist() for split, table in self.tables.items()}


def prepare(
    *,
    kinds: Mapping[str, Kind],
    path: str | Path | None = None,
    train: str | Path | None = None,
    validation: str | Path | None = None,
    test: str | Path | None = None,
    rows: Any = None,
    format: str | None = None,
    name: str | None = None,
    revision: str | None = None,
    encoding: str | None = None,
    delimiter: str | None = None,
    columns: Mapping[str, str] | None = None,
    keep: Sequence[str] = (),
    on_invalid: OnInvalid = "error",
    deduplicate: bool = False,
    split: SplitOptions | None = None,
    max_rows: int | None = None,
    leakage: Literal["warn", "error"] = "warn",
) -> Prepared:
    """Read, map, check, cut and audit a data set.

    Args:
        kinds: The task's canonical columns.
        path: File, folder, ``package:module/folder`` or hub id; cut unless it holds splits.
        train: The training rows, when splits are separate; `path` is then ignored.
        validation: The validation rows.
        test: The test rows.
        rows: Rows from Python, instead of any path: a list of dictionaries, or one per split.
        format: Format, when the name does not tell it.
        name: Configuration of a hub data set.
        revision: Revision of a hub data set.
        encoding: Text encoding; UTF-8 when None.
        delimiter: Column separator of a csv; found when None.
        columns: Canonical column → source column, nested field or template.
        keep: Further columns to carry along.
        on_invalid: Whether rows that cannot be used are an error or set aside.
        deduplicate: Drop exact duplicates; they are counted either way.
        split: How one set of rows is cut.
        max_rows: Use at most this many rows, drawn by the seed.
        leakage: Whether the same row in two splits is an error or a warning.

    Returns:
        The splits and the account of them.

    Raises:
        ConfigError: The options contradict each other or the task.
        DataError: The data cannot be used as asked.
        HubError: A hub data set cannot be had.
    """
    options = split or SplitOptions()
    shares = options.shares()
    problems = Problems(on_invalid)
    reading = sources.Reading(format, encoding, delimiter, name, revision, problems)
    found = sources.gather(
        reading, rows, path, {"train": train, "validation": validation, "test": test}
    )
    total = sum(source.table.num_rows for source in found.values()) + len(problems.quarantine)
    readable = total - len(problems.quarantine)
    tables, origins = canonicalise(
        found,
        kinds,
        said=columns or {},
        keep=keep,
        group_by=options.group_by,
        problems=problems,
        messages=reading.messages,
    )
    work = _Work(tables, kinds, problems, reading.messages, sources=origins)
    work.steps.append({"name": "read", "rows_in": total, "rows_out": readable})
    work.step("values", readable)
    roots = {split: source.root for split, source in found.items()}
    if max_rows is not None:
        _draw(work, max_rows, options.seed)
    _embed(work, roots)
    if work.count() == 0:
        raise DataError("No row can be used.", fix="See the reasons with data.on_invalid=error.")
    digests, questions = work.digests(), work.questions()
    account = audit.account(digests, questions, work.labels(), work.ids())
    if deduplicate:
        _deduplicate(work, digests, questions)
    elif account["duplicates"]["exact"]:
        work.messages.append(
            f"Exact duplicates: {plural(account['duplicates']['exact'])}; drop them with "
            "data.deduplicate=true."
        )
    _judge_leakage(work, account["leakage"], leakage, deduplicate)
    if account["label_conflicts"]:
        work.messages.append(
            f"{plural(account['label_conflicts'])} ask the same as another with a different label."
        )
    _cut(work, options, shares)
    _check_labels(work)
    return _finished(work, account, total)


def _draw(work: _Work, max_rows: int, seed: int) -> None:
    """Draw rows, the same share of each split, before any file is opened."""
    import numpy as np

    before = work.count()
    if before <= max_rows:
        return
    digests, labels = work.digests(), work.labels()
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
        work.tables[split] = table.filter(stays)
        if split == "train" and labels is not None:
            learnt = set(work.tables[split][label_column(work.kinds)].to_pylist())
    work.messages.append(f"{plural(work.count())} of {before:,} were drawn (data.max_rows).")
    work.step("max_rows", before)


def _embed(work: _Work, roots: Mapping[str, Path | None]) -> None:
    """Put files into the tables and decode each once."""
    names = [name for name in work.sources if isinstance(work.kinds[name], MEDIA)]
    if not names:
        return
    before = work.count()
    for split, table in work.tables.items():
        ids = table["id"].to_pylist()
        wrong: set[int] = set()
        for name in names:
            column, reasons = media.embed(table[name], roots[split], ids)
            reasons |= media.check_media(column, work.kinds[name])
            work.problems.add_rows(reasons, ids, step="media", column=name)
            wrong |= set(reasons)
            table = table.set_column(table.column_names.index(name), name, column)
        work.tables[split] = without(table, wrong)
    work.problems.refuse(before)
    work.step("media", before)


def _deduplicate(
    work: _Work, digests: Mapping[str, list[bytes]], questions: Mapping[str, list[bytes]]
) -> None:
    before = work.count()
    for split, reasons in clean.exact_duplicates(digests, questions).items():
        dropped = {index: reason for index, reason in enumerate(reasons) if reason}
        ids = work.tables[split]["id"].to_pylist()
        for index, reason in dropped.items():
            work.problems.quarantine.append(
                {"id": ids[index], "step": "deduplicate", "column": None, "reason": reason}
            )
        work.tables[split] = without(work.tables[split], set(dropped))
    if work.count() < before:
        work.messages.append(f"{plural(before - work.count())} were dropped as exact duplicates.")
    work.step("deduplicate", before)


def _judge_leakage(
    work: _Work, found: Mapping[str, Any], policy: Literal["warn", "error"], removed: bool
) -> None:
    if not found["exact"] or removed:
        return
    touched = ", ".join(f"{plural(count)} of {split}" for split, count in found["rows"].items())
    pairs = places(f"{first} = {second}" for first, second in found["pairs"])
    sentence = f"The inputs of {touched} are also in an earlier split: {pairs}"
    fix = "Remove them from train with data.deduplicate=true."
    if policy == "error":
        raise DataError(f"{sentence}.", fix=fix)
    work.messages.append(f"{sentence}. {fix}")


def _cut(work: _Work, options: SplitOptions, shares: Mapping[str, float]) -> None:
    """Make three splits of what is there; given ones are left as they are."""
    import numpy as np

    tables = work.tables
    lacking = [split for split in SPLITS if split not in tables and shares[split] > 0]
    if UNCUT in tables:
        origin, parts = UNCUT, dict(shares)
    else:
        origin = "train"
        rest = {split: shares[split] for split in ("train", *lacking)}
        parts = {split: share / sum(rest.values()) for split, share in rest.items()}
        if lacking:
            work.messages.append(
                f"{' and '.join(lacking).capitalize()} {'were' if len(lacking) > 1 else 'was'} "
                f"not given and {'were' if len(lacking) > 1 else 'was'} cut from train."
            )
    before = work.count()
    if origin == UNCUT or lacking:
        table = tables.pop(origin)
        part = replace(work, tables={origin: table})
        labels = part.labels()
        groups = part.questions()[origin]
        if GROUP in table.column_names:
            groups = [repr(value).encode() for value in table[GROUP].to_pylist()]
        chosen, said = cut(
            groups,
            labels[origin] if labels else None,
            parts,
            seed=options.seed,
            stratify=options.stratify,
        )
        work.messages += said
        array = np.array(chosen)
        for split in parts:
            tables[split] = table.filter(array == split)
    for split in SPLITS:
        if split not in tables:
            tables[split] = tables["train"].slice(0, 0)
        if tables[split].num_rows == 0 and shares[split] > 0:
            raise DataError(
                f"There are too few rows ({before:,}): nothing is left for {split}.",
                fix="Give more rows (data.max_rows caps them), or give that split its own "
                f"file by data.{split}=FILE.",
            )
    work.tables = {
        split: tables[split].drop_columns([GROUP])
        if GROUP in tables[split].column_names
        else tables[split]
        for split in SPLITS
    }
    work.step("split", before)


def _check_labels(work: _Work) -> None:
    labels = work.labels()
    if labels is None:
        return
    unseen = audit.unseen_labels(labels)
    if unseen:
        problems = []
        for split, counts in unseen.items():
            named = ", ".join(f"`{label}` ({plural(n)})" for label, n in list(counts.items())[:10])
            more = f" and {len(counts) - 10} more" if len(counts) > 10 else ""
            problems.append(f"{split.capitalize()} has labels that train does not: {named}{more}.")
        raise DataError(
            problems, fix="Add training rows for them, correct their spelling, or remove them."
        )
    if len(set(labels["train"])) == 1:
        work.messages.append("All rows have the same label: there is nothing to tell apart.")


def _finished(work: _Work, account: dict[str, Any], total: int) -> Prepared:
    import datasets

    labels = work.labels()
    digests = work.digests()
    fingerprints = {split: identity.fingerprint(digests[split]) for split in SPLITS}
    counts = audit.class_counts(labels) if labels else {"classes": {}, "class_splits": {}}
    kept = work.count()
    drawn_out = sum(
        step["rows_in"] - step["rows_out"] for step in work.steps if step["name"] == "max_rows"
    )
    report = {
        "rows": {"read": total, "kept": kept, "dropped": total - kept - drawn_out},
        "splits": {split: work.tables[split].num_rows for split in SPLITS},
        "steps": work.steps,
        "columns": work.sources,
        **counts,
        **account,
        "messages": work.messages,
        "tokens": None,
    }
    return Prepared(
        splits={
            split: datasets.Dataset(work.tables[split], fingerprint=fingerprints[split][:16])
            for split in SPLITS
        },
        audit=report,
        fingerprints=fingerprints,
        quarantine=work.problems.quarantine,
    )
