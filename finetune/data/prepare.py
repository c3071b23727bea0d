"""From a path or rows to three splits that can be trusted, with an account of what was done.

The steps run over Arrow tables that need not fit into memory; the only writer is the caller.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from finetune.data import audit, identity, media, media_facts, shapes, sources
from finetune.data.canonical import canonicalise, without
from finetune.data.drawing import draw_rows
from finetune.data.kinds import MEDIA, Audio, Image, Kind, Labels, Tags
from finetune.data.label_names import settle_spellings
from finetune.data.mixing import read_mix
from finetune.data.problems import OnInvalid, Problems
from finetune.data.problems import rows as plural
from finetune.data.repairs import check_cells, repair, say_cells
from finetune.data.repetition import repetition
from finetune.data.split import SPLITS, SplitOptions
from finetune.data.suspicion import suspect_labels
from finetune.data.work import GROUP, TIME, Work
from finetune.errors import DataError

if TYPE_CHECKING:
    import datasets

__all__ = ["Prepared", "SplitOptions", "prepare"]
REASONS_SHOWN = 5


@dataclass
class Prepared:
    """What later stages read.

    Args:
        splits: Train, validation and test, each with `id`, the canonical and the kept columns.
        audit: What `data/audit.json` holds.
        fingerprints: Sha256 of the content of each split.
        quarantine: Rows that were dropped or changed: id, step, column, reason, before.
    """

    splits: dict[str, datasets.Dataset]
    audit: dict[str, Any]
    fingerprints: dict[str, str]
    quarantine: list[dict[str, Any]]


def prepare(
    *,
    kinds: Mapping[str, Kind] | None,
    path: str | Path | None = None,
    train: str | Path | None = None,
    validation: str | Path | None = None,
    test: str | Path | None = None,
    mix: Mapping[str, Mapping[str, Any]] | None = None,
    rows: Any = None,
    reading: Mapping[str, Any] | None = None,
    columns: Mapping[str, str] | None = None,
    fill: Mapping[str, str] | None = None,
    keep: Sequence[str] = (),
    on_invalid: OnInvalid = "error",
    clean: Mapping[str, Mapping[str, Any]] | None = None,
    split: SplitOptions | None = None,
    max_rows: int | None = None,
    leakage: Literal["warn", "error"] = "warn",
    unseen_labels: Literal["error", "report"] = "error",
) -> Prepared:
    """Read, map, check, clean, cut and audit a data set.

    Args:
        kinds: The task's canonical columns; None recognises the shape of the data.
        path: File, folder, glob, URL of a database or of object storage, ``package:module/folder``
            or hub id; cut unless it holds splits.
        train: The training rows, when splits are separate; `path` is then ignored.
        validation: The validation rows.
        test: The test rows.
        mix: Several sources by name, instead of any path: see `mixing.read_mix`.
        rows: Rows from Python, instead of any path: an iterable of dictionaries, or one per split.
        reading: How to read: fields of `sources.Reading`, such as format and encoding.
        columns: Canonical column → source column, nested field or template.
        fill: Canonical column → what stands in for a missing or blank value.
        keep: Further columns to carry along.
        on_invalid: Whether rows that cannot be used are an error or set aside.
        clean: Step → its options, such as ``{"html": {"action": "repair"}}``; steps that are not
            named are skipped.
        split: How one set of rows is cut.
        max_rows: Use at most this many rows, drawn by the seed.
        leakage: Whether the same row in two splits is an error or a warning.
        unseen_labels: Whether labels that train lacks are an error, or kept in the test to be
            scored as wrong.

    Returns:
        The splits and the account of them.

    Raises:
        ConfigError: The options contradict each other or the task.
        DataError: The data cannot be used as asked.
        HubError: A hub data set cannot be had.
    """
    options, steps = split or SplitOptions(), clean or {}
    options.shares()  # a contradiction is said before anything is read
    problems = Problems(on_invalid)
    how = sources.Reading(**(reading or {}), problems=problems)
    if mix:
        media_columns = [name for name, kind in (kinds or {}).items() if isinstance(kind, MEDIA)]
        column = "mix" if "source" in (kinds or {}) else "source"
        found = read_mix(mix, how, seed=options.seed, column=column, embed=media_columns)
        keep = tuple(dict.fromkeys((*keep, column)))
    else:
        paths = {"train": train, "validation": validation, "test": test}
        found = sources.gather(how, rows, path, paths)
    said = dict(columns or {})
    if kinds is None:
        kinds, said = _recognised(found, said, how.messages)
    cells = (
        check_cells(found, kinds, said, keep)
        if steps.get("cells", {}).get("action") == "report"
        else []
    )
    total = sum(source.table.num_rows for source in found.values()) + len(problems.quarantine)
    readable = total - len(problems.quarantine)
    working = {GROUP: options.group_by, TIME: options.time}
    tables, origins = canonicalise(
        found,
        kinds,
        said=said,
        fill=fill or {},
        keep=keep,
        working={name: column for name, column in working.items() if column},
        problems=problems,
        messages=how.messages,
    )
    work = Work(tables, kinds, problems, how.messages, sources=origins)
    work.audit["cells"] = cells
    say_cells(work, cells)
    work.steps.append({"name": "read", "rows_in": total, "rows_out": readable})
    work.step("values", readable)
    roots = {name: source.root for name, source in found.items()}
    if max_rows is not None:
        draw_rows(work, max_rows, options.seed)
    _embed(work, roots)
    say_dropped(work, total)
    if work.count() == 0:
        raise DataError("No row can be used.", fix="See the reasons with data.on_invalid=error.")
    repair(work, steps)
    settle_spellings(work, steps.get("label_spelling", {}))
    if work.count() == 0:
        raise DataError("No row is left after cleaning.", fix="See the steps under data.clean.")
    repetition(work, steps, options, leakage)
    _check_labels(work, unseen_labels)
    suspect_labels(work, steps.get("label_errors", {}), seed=options.seed)
    return _finished(work, total)


def _recognised(
    found: Mapping[str, sources.Source], said: Mapping[str, str], messages: list[str]
) -> tuple[Mapping[str, Kind], dict[str, str]]:
    """Return the columns that the data themselves suggest, and where they come from."""
    source = next(iter(found.values()))
    shape = shapes.recognise(source.table.schema, said, source.name)
    messages.append(f"The data look like {shape.replace('_', ' ')} (task.shape={shape}).")
    if shape == shapes.TABLE:
        return shapes.table_columns(source.table.schema)
    return shapes.SHAPES[shape], dict(said)


def _embed(work: Work, roots: Mapping[str, Path | None]) -> None:
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
    for kind, entry, facts in (
        (Image, "pictures", media_facts.picture_facts),
        (Audio, "recordings", media_facts.recording_facts),
    ):
        for name in [name for name in names if isinstance(work.kinds[name], kind)]:
            work.audit[entry] = facts(table[name] for table in work.tables.values())


def say_dropped(work: Work, total: int) -> None:
    """Say for which reasons rows that cannot be used were left out."""
    said = work.problems.sentences(total)
    for sentence in said[:REASONS_SHOWN]:
        work.say(f"Dropped: {sentence[:-1]} (data/quarantine.jsonl).")
    if len(said) > REASONS_SHOWN:
        more = len(said) - REASONS_SHOWN
        work.say(f"Dropped for {more} other reason{'s' * (more > 1)} too: data/quarantine.jsonl.")


def _check_labels(work: Work, policy: Literal["error", "report"]) -> None:
    """Refuse labels that cannot be learnt, or keep them apart in the test.

    Raises:
        DataError: Validation or test has labels that train lacks, and that is an error.
    """
    labels = work.labels()
    if labels is None:
        return
    unseen = audit.unseen_labels(labels)
    work.audit["unseen_labels"] = unseen
    problems = []
    for split, counts in unseen.items():
        named = ", ".join(f"`{label}` ({plural(n)})" for label, n in list(counts.items())[:10])
        more = f" and {len(counts) - 10} more" if len(counts) > 10 else ""
        problems.append(f"{split.capitalize()} has labels that train does not: {named}{more}.")
    if problems and policy == "error":
        raise DataError(
            problems,
            fix="Add training rows for them, correct their spelling, remove them, or count them "
            "as wrong with data.unseen_labels=report.",
        )
    for sentence in problems:
        work.say(sentence)
    if "validation" in unseen:
        _leave_out(work, "validation", labels["validation"], unseen["validation"])
    if len(set(labels["train"])) == 1:
        work.say("All rows have the same label: there is nothing to tell apart.")


def _leave_out(work: Work, split: str, labels: Sequence[str], unseen: Mapping[str, int]) -> None:
    """Set rows aside whose label has no place in the loss."""
    before, table = work.count(), work.tables[split]
    wrong = {index for index, label in enumerate(labels) if label in unseen}
    for index in sorted(wrong):
        row = table.slice(index, 1).select(["id", *work.sources]).to_pylist()[0]
        work.problems.set_aside(row, step="unseen_labels", reason="has a label that train has not")
    work.tables[split] = without(table, wrong)
    work.step("unseen_labels", before)


def _listed_names(work: Work) -> dict[str, list[str]]:
    """Return by split every name in lists of labels or of tags, if there are such lists."""
    for name in work.sources:
        if isinstance(work.kinds[name], Labels | Tags):
            return {
                split: [item for row in table[name].to_pylist() for item in row or ()]
                for split, table in work.tables.items()
            }
    return {}


def _finished(work: Work, total: int) -> Prepared:
    import datasets

    labels, digests = work.labels(), work.digests()
    fingerprints = {split: identity.fingerprint(digests[split]) for split in SPLITS}
    named = labels or _listed_names(work)
    counts = audit.class_counts(named) if named else {"classes": {}, "class_splits": {}}
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
        **work.audit,
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
