"""Cutting rows into splits: by content and seed, never by position; pure functions on lists.

Rows of one unit (the same inputs, or the same group) stay together, so that no split leaks into
another by our doing. Within a label, units go to the split that is furthest behind its share.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from finetune.data.identity import drawn
from finetune.errors import ConfigError

SPLITS = ("train", "validation", "test")
ROWS_PER_LABEL = 4
"""A drawn label gets about this many rows, or it could not be in every split."""


@dataclass(frozen=True)
class SplitOptions:
    """How one set of rows is cut.

    Args:
        train: Share of rows for training.
        validation: Share of rows for choosing the checkpoint.
        test: Share of rows for the report.
        stratify: Keep the share of each label in every split.
        group_by: Column whose equal values stay in one split.
        time: Column of dates or numbers: the oldest rows train, the newest are the test.
        folds: Cut into so many equal parts; `fold` is the test, the others are cut into the rest.
        fold: Which part is the test, counted from 0.
        near_duplicates: Keep rows that are nearly the same in one split.
        seed: Seed of the choice.
    """

    train: float = 0.7
    validation: float = 0.15
    test: float = 0.15
    stratify: bool = True
    group_by: str | None = None
    time: str | None = None
    folds: int | None = None
    fold: int = 0
    near_duplicates: bool = True
    seed: int = 0

    def shares(self) -> dict[str, float]:
        """Return the share of each split.

        Raises:
            ConfigError: They don't add up to 1, or nothing is left for training.
        """
        shares = {"train": self.train, "validation": self.validation, "test": self.test}
        if min(shares.values()) < 0 or self.train <= 0 or abs(sum(shares.values()) - 1) > 1e-6:
            given = ", ".join(f"{name}={share:g}" for name, share in shares.items())
            raise ConfigError(
                f"The shares in `data.split` must add up to 1, with some for train; got {given}.",
                fix="For example data.split.train=0.8 data.split.validation=0.1 "
                "data.split.test=0.1.",
            )
        if self.time and (self.folds or self.group_by):
            other = "folds" if self.folds else "group_by"
            raise ConfigError(
                f"`data.split.time` and `data.split.{other}` cut in two different ways.",
                fix="Give one of them.",
            )
        if self.folds and not 0 <= self.fold < self.folds:
            raise ConfigError(
                f"`data.split.fold` must be from 0 to {self.folds - 1}, got {self.fold}.",
                fix="Folds are counted from 0.",
            )
        return shares


@dataclass(frozen=True)
class Unit:
    """Rows that stay together."""

    key: bytes
    rows: tuple[int, ...]
    stratum: str


def units_of(groups: Sequence[bytes], labels: Sequence[str] | None, *, seed: int) -> list[Unit]:
    """Gather rows into units, in an order that depends on their content alone.

    Args:
        groups: What rows of one unit have in common.
        labels: Label of each row, or None for one stratum.
        seed: Seed of the order.
    """
    members: dict[bytes, list[int]] = defaultdict(list)
    for index, group in enumerate(groups):
        members[group].append(index)
    units = []
    for group, rows in members.items():
        stratum = ""
        if labels is not None:
            counts = Counter(labels[index] for index in rows)
            stratum = min(counts, key=lambda label: (-counts[label], label))
        units.append(Unit(drawn(seed, group), tuple(rows), stratum))
    return sorted(units, key=lambda unit: (unit.stratum, unit.key))


def assign(units: Sequence[Unit], shares: dict[str, float]) -> list[str]:
    """Choose a split for each unit: the one that is furthest behind its share.

    Args:
        units: Sorted by stratum and key, so that each stratum is spread over the splits.
        shares: Share of rows of each split.
    """
    behind = dict.fromkeys(shares, 0.0)
    chosen: list[str] = []
    for unit in units:
        size = len(unit.rows)
        for name, share in shares.items():
            behind[name] += share * size
        # The last in the order wins a tie, or small strata would feed validation only.
        name = max(reversed(list(shares)), key=lambda item: behind[item])
        behind[name] -= size
        chosen.append(name)
    return chosen


def _fill_empty(
    units: Sequence[Unit], labels: Sequence[str], shares: dict[str, float], chosen: list[str]
) -> None:
    """Give a split without rows the smallest unit that another one can spare."""
    first = next(iter(shares))
    for name, share in shares.items():
        if share <= 0 or name in chosen:
            continue
        in_split = Counter(chosen)
        learnt = Counter(
            labels[row]
            for unit, split in zip(units, chosen, strict=True)
            if split == first
            for row in unit.rows
        )

        can = []
        for index, unit in enumerate(units):
            held = Counter(labels[row] for row in unit.rows)
            spare = chosen[index] != first or all(learnt[label] > held[label] for label in held)
            if spare and in_split[chosen[index]] > 1:
                can.append(index)
        if can:
            chosen[min(can, key=lambda i: (len(units[i].rows), units[i].key))] = name


def cut(
    groups: Sequence[bytes],
    labels: Sequence[str] | None,
    shares: dict[str, float],
    *,
    seed: int,
    stratify: bool = True,
) -> tuple[list[str], list[str]]:
    """Choose a split for each row.

    Args:
        groups: What rows that stay together have in common: a hash of their inputs or group.
        labels: Label of each row, when the task has one.
        shares: Share of rows of each split; the first one learns.
        seed: Seed of the choice.
        stratify: Keep the share of each label in every split.

    Returns:
        The split of each row, and what to tell the user.
    """
    shares = {split: share for split, share in shares.items() if share > 0}
    units = units_of(groups, labels if stratify else None, seed=seed)
    chosen = assign(units, shares)
    said = _teach_every_label(units, labels, shares, chosen) if labels is not None else []
    # Without labels one that all share stands in: any unit but the last can be spared.
    _fill_empty(units, labels if labels is not None else [""] * len(groups), shares, chosen)
    result = [""] * len(groups)
    for unit, name in zip(units, chosen, strict=True):
        for row in unit.rows:
            result[row] = name
    return result, said


def cut_folds(
    groups: Sequence[bytes],
    labels: Sequence[str] | None,
    options: SplitOptions,
) -> tuple[list[str], list[str]]:
    """Choose a split for each row, one of several equal parts being the test.

    The parts do not depend on which of them is the test, so that over all folds every row is
    tested once.

    Args:
        groups: What rows that stay together have in common.
        labels: Label of each row, when the task has one.
        options: `folds`, `fold`, the shares of train and validation, and the seed.

    Returns:
        The split of each row, and what to tell the user.
    """
    count = options.folds or 1
    parts = {f"fold {index}": 1 / count for index in range(count)}
    units = units_of(groups, labels if options.stratify else None, seed=options.seed)
    tested = {
        row
        for unit, part in zip(units, assign(units, parts), strict=True)
        if part == f"fold {options.fold}"
        for row in unit.rows
    }
    rest = [row for row in range(len(groups)) if row not in tested]
    whole = options.train + options.validation
    inner, said = cut(
        [groups[row] for row in rest],
        [labels[row] for row in rest] if labels is not None else None,
        {"train": options.train / whole, "validation": options.validation / whole},
        seed=options.seed,
        stratify=options.stratify,
    )
    chosen = ["test"] * len(groups)
    for row, split in zip(rest, inner, strict=True):
        chosen[row] = split
    if labels is not None:
        known = {labels[row] for row in rest}
        # A label that the test alone has cannot be learnt in this fold.
        for row in sorted(tested):
            if labels[row] not in known:
                chosen[row] = "train"
    return chosen, said


def _teach_every_label(
    units: Sequence[Unit], labels: Sequence[str], shares: dict[str, float], chosen: list[str]
) -> list[str]:
    """Move a unit to the first split for each label that it lacks; say which have one row."""
    first = next(iter(shares))
    counts = Counter(labels)
    taught = {
        labels[row]
        for unit, name in zip(units, chosen, strict=True)
        if name == first
        for row in unit.rows
    }
    for label in sorted(set(labels) - taught):
        if label in taught:
            continue
        holding = [i for i, unit in enumerate(units) if any(labels[r] == label for r in unit.rows)]
        best = min(holding, key=lambda i: (len(units[i].rows), units[i].key))
        chosen[best] = first
        taught.update(labels[row] for row in units[best].rows)
    single = sorted(label for label, count in counts.items() if count == 1)
    if not single:
        return []
    named = ", ".join(f"`{label}`" for label in single[:5])
    more = f" and {len(single) - 5} more" if len(single) > 5 else ""
    have = "labels have" if len(single) > 1 else "label has"
    return [f"{len(single)} {have} one row, which went to train: {named}{more}."]


def draw(
    groups: Sequence[bytes], labels: Sequence[str] | None, count: int, *, seed: int
) -> list[bool]:
    """Choose at most `count` rows; True for those chosen.

    Every label is among them when there are rows enough; else fewer labels, so that each of them
    has rows for every split.
    """
    total = len(groups)
    if count >= total:
        return [True] * total
    # Rows rather than units, or one large unit would overshoot.
    order = sorted(range(total), key=lambda index: (drawn(seed, groups[index]), index))
    chosen: list[int] = []
    if labels is not None:
        ranked = list(dict.fromkeys(labels[index] for index in order))
        some = set(ranked[: max(2, count // ROWS_PER_LABEL)])
        order = [index for index in order if labels[index] in some]
        seen: set[str] = set()
        for index in order:
            if labels[index] not in seen and len(chosen) < count:
                seen.add(labels[index])
                chosen.append(index)
    taken = set(chosen)
    for index in order:
        if len(taken) >= count:
            break
        taken.add(index)
    return [index in taken for index in range(total)]
