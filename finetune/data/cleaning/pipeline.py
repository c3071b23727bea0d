"""Cleaning as a stream: batches pass the steps, and what they lose or change is written down."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finetune.data.cleaning.base import Step
from finetune.data.cleaning.batch import Outcome, Tally
from finetune.data.cleaning.cells import holds_text
from finetune.data.cleaning.workers import PARALLEL_ROWS, outcomes
from finetune.data.spool import Spool

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 8192
BATCH_BYTES = 32 << 20
"""Text of a batch, where a single row doesn't have that much."""
RECORD = ("id", "step", "column", "reason", "before")
"""What a line of the quarantine has; `before` is JSON as long as it is in a table."""


@dataclass(frozen=True)
class Cleaned:
    """A table and the account of what was done to it.

    Args:
        table: Texts put right, without the rows that were dropped; the very table that was given
            when nothing changed.
        reports: One for each step that ran, in order: name, rows_in, rows_out, changed (rows),
            found (kind → how often).
        records: The quarantine's lines in the order of rows, unless they went elsewhere; in a
            table that need not fit into memory either.
    """

    table: pa.Table
    reports: list[dict[str, Any]]
    records: pa.Table

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yield lines of the quarantine: of a change the text before it, of a drop the row."""
        for batch in self.records.to_batches(max_chunksize=1024):
            for line in batch.to_pylist():
                yield {**line, "before": json.loads(line["before"])}


def clean(
    table: pa.Table,
    columns: Sequence[str],
    steps: Sequence[Step],
    *,
    workers: int = 1,
    record: Callable[[dict[str, Any]], None] | None = None,
    batch_rows: int = BATCH_ROWS,
    parallel_rows: int = PARALLEL_ROWS,
) -> Cleaned:
    """Run steps over a table that need not fit into memory.

    What becomes of a row depends on that row alone: neither order, batches nor workers change it.
    A row with a cell that held nothing but what a step removes is dropped, as `emptied`.

    Args:
        table: Rows with `id` and these columns.
        columns: Strings, lists of strings, or conversations; others are left alone.
        steps: In the order in which they run; those that skip are left out.
        workers: Processes at most; see `workers.outcomes` for when there are fewer.
        record: Takes each line of the quarantine instead of `Cleaned.records`.
        batch_rows: Rows to look at at once.
        parallel_rows: Rows from which processes are worth what it costs to start them.
    """
    import pyarrow as pa

    active = [step for step in steps if step.action != "skip"]
    names = [name for name in columns if holds_text(table.schema.field(name).type)]
    records = Spool(pa.schema([(name, pa.large_string()) for name in RECORD]))
    if not names or not active:
        tallies = [Tally(table.num_rows, table.num_rows) for _ in active]
        return Cleaned(table, _reports(active, tallies), records.table())
    tallies = [Tally() for _ in active]
    pieces: list[pa.RecordBatch | None] = []
    spool = Spool(table.schema)
    same = True
    many = workers if table.num_rows >= parallel_rows else 1
    batches = _batches(table, names, batch_rows)
    for batch, outcome in outcomes(batches, names, active, workers=many):
        for tally, more in zip(tallies, outcome.tallies, strict=True):
            tally.add(more)
        if record is not None:
            for line in _lines(batch, outcome):
                record(line)
        elif outcome.events:
            packed = [_packed(line) for line in _lines(batch, outcome)]
            records.write(pa.RecordBatch.from_pylist(packed, records.schema))
        after = _applied(batch, outcome)
        if after is batch:
            # Batches that stay as they are remain where they were; only others are written.
            pieces.append(batch)
            continue
        same = False
        if len(after):
            pieces.append(None)
            spool.write(after)
    if not same:
        written = iter(spool.table().to_batches())
        whole = [next(written) if piece is None else piece for piece in pieces]
        table = pa.Table.from_batches(whole, table.schema)
    return Cleaned(table, _reports(active, tallies), records.table())


def repaired(text: str, steps: Sequence[Step]) -> str:
    """Return one text as those steps that repair leave it: what `predict` does to its inputs."""
    for step in steps:
        if step.action == "repair":
            finding = step.check(text)
            if finding is not None and finding.repaired is not None:
                text = finding.repaired
    return text


def _batches(table: pa.Table, names: Sequence[str], batch_rows: int) -> Iterator[pa.RecordBatch]:
    for whole in table.to_batches(max_chunksize=batch_rows):
        waiting = [whole]
        while waiting:
            batch = waiting.pop()
            if len(batch) > 1 and batch.select(list(names)).nbytes > BATCH_BYTES:
                half = len(batch) // 2
                waiting += [batch.slice(half), batch.slice(0, half)]
            elif len(batch):
                yield batch


def _applied(batch: pa.RecordBatch, outcome: Outcome) -> pa.RecordBatch:
    import pyarrow as pa

    if outcome.columns:
        arrays = [outcome.columns.get(f.name, batch.column(f.name)) for f in batch.schema]
        batch = pa.RecordBatch.from_arrays(arrays, schema=batch.schema)
    return batch if outcome.stays is None else batch.filter(pa.array(outcome.stays))


def _lines(batch: pa.RecordBatch, outcome: Outcome) -> Iterator[dict[str, Any]]:
    ids = batch.column("id")
    for event in outcome.events:
        before: Any = event.before
        if before is None:
            row = batch.slice(event.row, 1).to_pylist()[0]
            before = {name: _kept(value) for name, value in row.items() if value is not None}
        yield {
            "id": ids[event.row].as_py(),
            "step": event.step,
            "column": event.column,
            "reason": event.reason,
            "before": before,
        }


def _packed(line: Mapping[str, Any]) -> dict[str, str]:
    return {**line, "before": json.dumps(line["before"], ensure_ascii=False, default=str)}


def _kept(value: Any) -> Any:
    """Return a value as the quarantine holds it: of a picture or a recording, the file's name."""
    if isinstance(value, Mapping):
        if "bytes" in value:
            return value.get("path")
        return {name: _kept(item) for name, item in value.items()}
    return [_kept(item) for item in value] if isinstance(value, list) else value


def _reports(steps: Sequence[Step], tallies: Sequence[Tally]) -> list[dict[str, Any]]:
    return [
        {
            "name": step.name,
            "rows_in": tally.rows_in,
            "rows_out": tally.rows_out,
            "changed": tally.changed,
            "found": dict(sorted(tally.found.items())),
        }
        for step, tally in zip(steps, tallies, strict=True)
    ]
