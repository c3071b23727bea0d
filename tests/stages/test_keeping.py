"""Entries of what is computed once per row: their budget, their blocks, who writes them."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from finetune.stages import keeping
from finetune.training import kept, ranks
from tests.training.two_ranks import results


class Tens:
    """Makes ten times its number of a row."""

    name, tolerance = "tens", 0.0
    factor = 10.0

    def size(self, rows: Any) -> int:
        return 4 * len(rows)

    def computed(self, rows: Any, numbers: Any) -> list[tuple[bytes, torch.Tensor]]:
        return [(b"", torch.tensor([n * self.factor])) for n in numbers]

    def series(self, rows: Any, blocks: Any) -> Any:
        return (self.computed(rows, numbers) for numbers in blocks)


def trainer(rank: int = 0, world: int = 1) -> Any:
    return SimpleNamespace(args=SimpleNamespace(world_size=world, process_index=rank))


@pytest.mark.parametrize("count", [1, 16, 17, 40])
def test_blocks_cover_the_rows_in_order(count: int) -> None:
    made = keeping.blocks(trainer(), Tens(), range(count), 1)  # type: ignore[arg-type]
    assert [float(row) for block in made for _, row in block] == [10.0 * n for n in range(count)]


def on_a_rank(rank: int, folder: Path) -> Any:
    """Keep rows on one of two ranks, then where the one that writes cannot."""
    os.environ["LOCAL_RANK"] = str(rank)
    found = keeping.kept_rows(trainer(rank, 2), Tens(), range(40), folder / "a", 160)  # type: ignore[arg-type]
    assert found is not None
    rows = [float(found.row(number)) for number in range(len(found))]

    def full(*rest: Any, **options: Any) -> Any:
        raise OSError(errno.ENOSPC, "full")

    kept.write = full
    none = keeping.kept_rows(trainer(rank, 2), Tens(), range(40), folder / "b", 160)  # type: ignore[arg-type]
    return rows, none, ranks.gathered(rank, 2)


def test_two_ranks_keep_what_one_keeps_and_both_go_without_where_the_disk_is_full(
    tmp_path: Path,
) -> None:
    for rows, none, everybody in results(tmp_path, on_a_rank):
        assert rows == [10.0 * n for n in range(40)]
        assert none is None
        assert everybody == [0, 1]


def test_what_is_made_otherwise_by_now_is_made_anew(tmp_path: Path) -> None:
    part = Tens()
    keeping.kept_rows(trainer(), part, range(1, 5), tmp_path / "a", 16)  # type: ignore[arg-type]
    known = kept.load(tmp_path / "a")
    assert known is not None
    assert keeping.is_still(part, range(4), known)  # type: ignore[arg-type]
    assert not keeping.is_still(part, range(5), known)  # type: ignore[arg-type]
    part.computed = lambda *_: [(b"", torch.tensor([1e-6]))]  # type: ignore[method-assign]
    assert not keeping.is_still(part, range(4), known)  # type: ignore[arg-type]
    part.tolerance = 2.0
    assert keeping.is_still(part, range(4), known)  # type: ignore[arg-type]


def test_half_of_what_is_free_is_the_most_that_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FINETUNE_CACHE", str(tmp_path / "not" / "yet"))
    usage = SimpleNamespace(free=10_000_000_000)
    monkeypatch.setattr(keeping.shutil, "disk_usage", lambda _: usage)
    assert keeping.budget(20.0) == 5_000_000_000
    assert keeping.budget(1.0) == 1_000_000_000


def test_a_row_is_met_as_often_as_steps_or_epochs_say() -> None:
    cut, rows = SimpleNamespace(global_batch_size=8), range(16)
    for steps, epochs, times in ((4, 9, 2.0), (-1, 3, 3.0)):
        args = SimpleNamespace(max_steps=steps, num_train_epochs=epochs)
        one: Any = SimpleNamespace(train_rows=rows, cut=cut, args=args)
        assert keeping.times_met(one) == times


def test_sizes_are_told_in_words() -> None:
    assert [keeping.told(size) for size in (900, 2_500_000, 3e9)] == ["1 kB", "2.5 MB", "3.0 GB"]
