"""Rows that cannot be used: collected, then either refused together or quarantined."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from finetune.errors import DataError

OnInvalid = Literal["error", "drop"]
SHOWN = 5


def places(ids: Iterable[str], *, shown: int = SHOWN) -> str:
    """Return the first few ids, and how many more there are."""
    every = list(ids)
    more = f" and {len(every) - shown:,} more" if len(every) > shown else ""
    return ", ".join(every[:shown]) + more


def rows(count: int) -> str:
    """Return ``1 row`` or ``1,200 rows``."""
    return f"{count:,} row{'' if count == 1 else 's'}"


def _kept(value: Any) -> Any:
    """Return a value as the quarantine holds it: of a picture or a recording, the file's name."""
    if isinstance(value, Mapping) and "bytes" in value:
        return value.get("path")
    return value


@dataclass
class Problems:
    """Rows in trouble, by id and reason; never their text.

    Args:
        policy: ``error`` refuses the data when there is any; ``drop`` sets the rows aside.
    """

    policy: OnInvalid = "error"
    quarantine: list[dict[str, Any]] = field(default_factory=list)

    def add(self, ids: Iterable[str], *, step: str, column: str | None, reason: str) -> None:
        """Set rows aside for one reason."""
        self.quarantine.extend(
            {"id": row, "step": step, "column": column, "reason": reason} for row in ids
        )

    def set_aside(self, row: Mapping[str, Any], *, step: str, reason: str) -> None:
        """Set a row aside that is in no trouble, and keep what it held."""
        before = {
            name: _kept(value) for name, value in row.items() if name != "id" and value is not None
        }
        entry = {"id": row["id"], "step": step, "column": None, "reason": reason}
        self.quarantine.append({**entry, "before": before})

    def add_rows(
        self, reasons: Mapping[int, str], ids: Sequence[str], *, step: str, column: str | None
    ) -> None:
        """Set rows aside by place, each for its own reason."""
        for index, reason in sorted(reasons.items()):
            self.add([ids[index]], step=step, column=column, reason=reason)

    def add_lines(
        self, bad: Sequence[tuple[int, str]], good: int, name: str, *, hint: str = ""
    ) -> None:
        """Set lines of a file aside that make no row, or refuse the file for them.

        Args:
            bad: Line number and reason.
            good: Rows that were read.
            name: What the file is called.
            hint: What is often the cause.
        """
        for line, reason in bad:
            self.add([f"{name}:{line}"], step="read", column=None, reason=reason)
        fix = f"Correct the lines, or leave them out with data.on_invalid=drop.{hint}"
        self.refuse(good + len(bad), fix=fix)

    def refuse(self, total: int, fix: str = "") -> None:
        """Raise one error for everything found so far, unless the policy is to drop.

        Args:
            total: Rows looked at, for the sentence.
            fix: What to do besides leaving the rows out.

        Raises:
            DataError: One sentence for each reason, with a count and the first places.
        """
        if self.policy == "drop" or not self.quarantine:
            return
        raise DataError(
            self.sentences(total),
            fix=fix or "Correct them, or leave them out with data.on_invalid=drop.",
        )

    def sentences(self, total: int) -> list[str]:
        """Return a sentence for each reason, with a count and the first places.

        Args:
            total: Rows looked at.
        """
        by_reason: dict[tuple[str | None, str], list[str]] = {}
        for entry in self.quarantine:
            by_reason.setdefault((entry["column"], entry["reason"]), []).append(entry["id"])
        return [
            f"{f'`{column}`' if column else 'A row'} {reason} in "
            f"{len(ids):,} of {rows(total)}: {places(ids)}."
            for (column, reason), ids in by_reason.items()
        ]
