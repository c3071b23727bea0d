"""Entries named by their content: whole and sound, or not there."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from finetune.runs import entries


def written(entry: Path, content: bytes = bytes(100)) -> Path:
    with entries.making(entry, {"of": "x"}, needed=100) as folder:
        (folder / "values.bin").write_bytes(content)
    return entry


def test_an_entry_is_sound_until_a_byte_of_it_is_another(tmp_path: Path) -> None:
    entry = written(tmp_path / "entry")
    assert entries.is_sound(entry)
    (entry / "values.bin").write_bytes(bytes(99) + b"x")
    assert not entries.is_sound(entry)
    (entry / "values.bin").unlink()
    assert not entries.is_sound(entry)
    assert not entries.is_sound(tmp_path / "other")
    (entry / entries.FACTS).write_text("[]")
    assert not entries.is_sound(entry)


def test_nothing_is_left_where_writing_breaks_off(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), entries.making(tmp_path / "entry", {}, needed=1):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_the_first_of_two_that_make_an_entry_stays_and_a_broken_one_goes(tmp_path: Path) -> None:
    with entries.making(tmp_path / "entry", {}, needed=1) as folder:
        (folder / "values.bin").write_bytes(b"second")
        written(tmp_path / "entry", b"first")
    assert (tmp_path / "entry" / "values.bin").read_bytes() == b"first"
    (tmp_path / "entry" / "values.bin").write_bytes(b"broken")
    written(tmp_path / "entry", b"third")
    assert (tmp_path / "entry" / "values.bin").read_bytes() == b"third"
    assert [path.name for path in tmp_path.iterdir()] == ["entry"]


def test_what_was_used_longest_ago_makes_room(tmp_path: Path) -> None:
    for age, name in enumerate(("new", "middle", "old")):
        written(tmp_path / name)
        os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
    one = entries.size_of(tmp_path / "new")
    entries.make_room(tmp_path, one, limit=3 * one)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["middle", "new"]


def test_what_a_run_holds_stays_however_little_room_there_is(tmp_path: Path) -> None:
    for name in ("held", "other"):
        written(tmp_path / name)
    entries.make_room(tmp_path, 1, limit=2, keep={"held"})
    assert [path.name for path in tmp_path.iterdir()] == ["held"]


def test_what_was_never_finished_goes_after_a_day(tmp_path: Path) -> None:
    for name, age in ((".old.tmp", entries.DAY + 60), (".new.tmp", 60)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "values.bin").write_bytes(b"x")
        then = time.time() - age
        os.utime(tmp_path / name / "values.bin", (then, then))
        os.utime(tmp_path / name, (then, then))
    entries.make_room(tmp_path, 0, limit=1000)
    assert [path.name for path in tmp_path.iterdir()] == [".new.tmp"]
