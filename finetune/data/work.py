"""What the steps of `prepare` pass on: tables by split, and the account of what was done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from finetune.data import identity
from finetune.data.kinds import Kind, input_columns, label_column
from finetune.data.problems import Problems

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from finetune.data.near.clusters import Near


GROUP = "__group__"
"""Working column that holds the values of `group_by` until rows are cut."""
TIME = "__time__"
"""Working column that holds the values of `split.time` until rows are cut."""
PLACE = "__place__"
"""Working column that holds each row's number in `near`."""


@dataclass
class Work:
    """Tables of `id`, canonical and kept columns, and what is to be said of them.

    Args:
        tables: By split; `sources.UNCUT` for rows that nobody has cut yet.
        kinds: The task's canonical columns.
        problems: Rows in trouble, and the policy on them.
        messages: What to tell the user.
        sources: Source column of each canonical column that is there.
        steps: What each step did, in order.
        audit: Further entries of the audit.
        near: Which rows are nearly the same, once somebody looked.
    """

    tables: dict[str, pa.Table]
    kinds: Mapping[str, Kind]
    problems: Problems
    messages: list[str]
    sources: dict[str, str] = field(default_factory=dict)
    steps: list[dict[str, Any]] = field(default_factory=list)
    audit: dict[str, Any] = field(default_factory=dict)
    near: Near | None = None

    def count(self) -> int:
        """Return the number of rows there are."""
        return sum(table.num_rows for table in self.tables.values())

    def step(self, name: str, before: int, **facts: Any) -> None:
        """Write a step down: how many rows went in, how many came out, and what it found."""
        self.steps.append({"name": name, "rows_in": before, "rows_out": self.count(), **facts})

    def say(self, sentence: str) -> None:
        """Tell the user something, once."""
        if sentence not in self.messages:
            self.messages.append(sentence)

    def digests(self) -> dict[str, list[bytes]]:
        """Return by split a hash of all canonical columns of each row."""
        names = list(self.sources)
        return {split: identity.digests(table, names) for split, table in self.tables.items()}

    def inputs(self) -> list[str]:
        """Return the canonical columns that a model reads, among those there are."""
        return input_columns({name: self.kinds[name] for name in self.sources})

    def questions(self) -> dict[str, list[bytes]]:
        """Return by split a hash of the inputs of each row."""
        asked = self.inputs()
        return {split: identity.questions(table, asked) for split, table in self.tables.items()}

    def label_name(self) -> str | None:
        """Return the name of the label column, if it is there."""
        name = label_column(self.kinds)
        return name if name in self.sources else None

    def labels(self) -> dict[str, list[str]] | None:
        """Return by split the label of each row, if there are labels."""
        name = self.label_name()
        if name is None:
            return None
        return {split: table[name].to_pylist() for split, table in self.tables.items()}

    def ids(self) -> dict[str, list[str]]:
        """Return by split the id of each row."""
        return {split: table["id"].to_pylist() for split, table in self.tables.items()}

    def places(self) -> dict[str, npt.NDArray[np.int64]]:
        """Return by split the number of each row in `near`."""
        return {split: table[PLACE].to_numpy() for split, table in self.tables.items()}

    def forget_working_columns(self) -> None:
        """Leave only columns that are kept."""
        for split, table in self.tables.items():
            there = [name for name in (GROUP, TIME, PLACE) if name in table.column_names]
            self.tables[split] = table.drop_columns(there)
