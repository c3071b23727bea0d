"""What is kept of each row: found again to the bit, or made anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from finetune.runs import entries
from finetune.training import kept


def rows(dtype: torch.dtype) -> list[kept.Named]:
    torch.manual_seed(0)
    return [(bytes([n] * 16), torch.randn(n, 3).to(dtype)) for n in (2, 1, 5)]


def written(entry: Path, states: list[kept.Named]) -> kept.Kept:
    return kept.write(entry, [states[:2], states[2:]], needed=1000, facts={"module": "x"})


@pytest.mark.parametrize("dtype", list(kept.STORED))
def test_rows_of_any_length_come_back_to_the_bit(tmp_path: Path, dtype: torch.dtype) -> None:
    states = rows(dtype)
    written(tmp_path / "entry", states)
    found = kept.load(tmp_path / "entry")
    assert found is not None
    assert len(found) == 3
    assert found.names == [name for name, _ in states]
    for number, (_, row) in enumerate(states):
        assert found.row(number).dtype == dtype
        assert torch.equal(found.row(number), row)
    assert found.bytes == 8 * 3 * dtype.itemsize


def test_rows_of_different_shapes_come_back_in_their_own(tmp_path: Path) -> None:
    states = [torch.randn(2, 3, 4), torch.randn(3, 1), torch.randn(()), torch.randn(0, 5)]
    kept.write(tmp_path / "entry", [[(b"", row) for row in states]], needed=1000, facts={})
    found = kept.load(tmp_path / "entry")
    assert found is not None
    for number, row in enumerate(states):
        assert torch.equal(found.row(number), row)


def test_an_entry_that_was_changed_is_not_used(tmp_path: Path) -> None:
    written(tmp_path / "entry", rows(torch.float32))
    file = tmp_path / "entry" / kept.VALUES
    content = bytearray(file.read_bytes())
    content[5] ^= 1
    file.write_bytes(content)
    assert kept.load(tmp_path / "entry") is None


def test_there_is_no_entry_before_it_is_whole(tmp_path: Path) -> None:
    def breaks() -> object:
        yield rows(torch.float32)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kept.write(tmp_path / "entry", breaks(), needed=1, facts={})  # type: ignore[arg-type]
    assert kept.load(tmp_path / "entry") is None
    assert list(tmp_path.iterdir()) == []


def test_no_rows_are_an_entry_too(tmp_path: Path) -> None:
    assert len(kept.write(tmp_path / "entry", [], needed=0, facts={})) == 0


def test_of_two_that_make_an_entry_at_once_both_get_a_sound_one(tmp_path: Path) -> None:
    states = rows(torch.float32)

    def late() -> Any:
        written(tmp_path / "entry", states)  # the other one is faster
        yield states

    found = kept.write(tmp_path / "entry", late(), needed=1000, facts={})
    assert torch.equal(found.row(0), states[0][1])
    assert [path.name for path in tmp_path.iterdir()] == ["entry"]


def test_a_broken_entry_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "entry").mkdir()
    (tmp_path / "entry" / entries.FACTS).write_text("{")
    assert len(written(tmp_path / "entry", rows(torch.float32))) == 3
    assert kept.load(tmp_path / "entry") is not None
    assert [path.name for path in tmp_path.iterdir()] == ["entry"]
