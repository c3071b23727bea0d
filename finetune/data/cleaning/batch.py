"""All steps over one batch of rows: what each found, changed and dropped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from finetune.data.cleaning.base import Finding, Step
from finetune.data.cleaning.cells import Texts, joined, put_back, take_out

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

EMPTIED = "emptied"
"""Kind of a cell that held nothing but trouble: its row is dropped."""
BLANK = "is blank once put right"


@dataclass
class Tally:
    """What one step did.

    Args:
        rows_in: Rows that reached it.
        rows_out: Rows that it left.
        changed: Rows of which it changed a text.
        found: Kind → how often.
    """

    rows_in: int = 0
    rows_out: int = 0
    changed: int = 0
    found: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Count what the step did in another batch."""
        self.rows_in += other.rows_in
        self.rows_out += other.rows_out
        self.changed += other.changed
        self.found.update(other.found)


class Event(NamedTuple):
    """A text that a step changed, or a row that it dropped.

    Args:
        row: Place in the batch.
        step: Name.
        column: Where the trouble was, with the position in a list.
        reason: What it was.
        before: The text before the change; None when the row had to go.
    """

    row: int
    step: str
    column: str
    reason: str
    before: str | None


@dataclass
class Outcome:
    """What became of a batch.

    Args:
        columns: Columns that changed, of all rows that went in.
        stays: Shape (rows,). None when all do.
        tallies: One for each step.
        events: By row, then by step.
    """

    columns: dict[str, pa.Array]
    stays: npt.NDArray[np.bool_] | None
    tallies: list[Tally]
    events: list[Event]


class _Find(NamedTuple):
    row: int
    place: int
    text: str
    finding: Finding


def clean_batch(batch: pa.RecordBatch, columns: Sequence[str], steps: Sequence[Step]) -> Outcome:
    """Run steps over a batch, one after the other; rows don't know of each other.

    Args:
        batch: Rows, with at least these columns.
        columns: Those that hold text.
        steps: Those that do something.
    """
    import numpy as np

    given = {name: batch.column(name) for name in columns}
    here = dict(given)
    stays = np.ones(len(batch), np.bool_)
    tallies, events = [], []
    for step in steps:
        tally = Tally(rows_in=int(stays.sum()))
        lost: dict[int, Event] = {}
        changed: set[int] = set()
        for name, column in here.items():
            texts = take_out(column)
            finds = _look(step, column, texts, stays)
            for find in finds:
                tally.found.update(find.finding.counts)
            if step.action == "drop":
                for find in finds:
                    lost.setdefault(find.row, _event(step, name, texts, find, drops=True))
            elif step.action == "repair":
                repairs = [f for f in finds if f.finding.repaired not in (None, f.text)]
                if not repairs:
                    continue
                here[name], blank = _put_right(column, texts, repairs)
                changed.update(find.row for find in repairs)
                events += [_event(step, name, texts, find) for find in repairs]
                for row in blank:
                    tally.found[EMPTIED] += 1
                    lost.setdefault(row, Event(row, step.name, name, BLANK, None))
        stays[list(lost)] = False
        events += lost.values()
        tally.changed = len(changed - lost.keys())
        tally.rows_out = int(stays.sum())
        tallies.append(tally)
    # The sort is stable, so that steps keep their order: the same whatever a batch's size.
    events.sort(key=lambda event: event.row)
    new = {name: column for name, column in here.items() if column is not given[name]}
    return Outcome(new, None if stays.all() else stays, tallies, events)


def _look(step: Step, column: pa.Array, texts: Texts, stays: npt.NDArray[np.bool_]) -> list[_Find]:
    """Return what a step finds in rows that are still there."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    flat, rows = texts.flat, texts.rows
    if step.whole and rows is not None:
        flat, rows = joined(column, texts), None
    there = np.flatnonzero(pc.is_valid(flat).to_numpy(zero_copy_only=False))
    if not len(there):
        return []
    places = there[step.candidates(flat.drop_null() if flat.null_count else flat)]
    owners = places if rows is None else rows[places]
    places, owners = places[stays[owners]], owners[stays[owners]]
    close = flat.take(pa.array(places, pa.int64())).to_pylist()
    return [
        _Find(row, place, text, finding)
        for row, place, text in zip(owners.tolist(), places.tolist(), close, strict=True)
        if (finding := step.check(text)) is not None
    ]


def _put_right(
    column: pa.Array, texts: Texts, repairs: Sequence[_Find]
) -> tuple[pa.Array, list[int]]:
    """Return the column with texts put right, and the rows that say nothing any more."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    mask = np.zeros(len(texts.flat), np.bool_)
    mask[[find.place for find in repairs]] = True
    new = pa.array([find.finding.repaired for find in repairs], texts.flat.type)
    flat = pc.replace_with_mask(texts.flat, mask, new)
    emptied = {
        find.row for find in repairs if find.text.strip() and not str(find.finding.repaired).strip()
    }
    said = joined(column, Texts(flat, texts.rows))
    return put_back(column, flat), [r for r in sorted(emptied) if not said[r].as_py().strip()]


def _event(step: Step, name: str, texts: Texts, find: _Find, *, drops: bool = False) -> Event:
    position = None if step.whole else texts.position(find.place)
    column = name if position is None else f"{name}[{position}]"
    reason = f"{step.trouble} ({', '.join(find.finding.counts)})"
    return Event(find.row, step.name, column, reason, None if drops else find.text)
