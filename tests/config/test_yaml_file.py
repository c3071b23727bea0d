"""Hostile and broken YAML is refused in bounded time and memory."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from finetune.config import yaml_file
from finetune.errors import ConfigError

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
HOSTILE = {
    "a tag that names code": "a: !!python/object/apply:os.system ['touch canary']",
    "a name of code": "a: !!python/name:os.system",
    "duplicate keys": "a: 1\na: 2",
    "an alias bomb": BOMB,
    "an alias of itself": "a: &a [*a]",
    "flow depth": "a: " + "[" * 1000 + "]" * 1000,
    "block depth": "".join(" " * level + "a:\n" for level in range(1000)),
    "five megabytes": "a: " + "x" * 5_000_000,
    "five megabytes of keys": "".join(f"k{i}: 1\n" for i in range(500_000)),
    "many values": "a: [" + "1," * 100_000 + "]",
    "a list": "- a\n- b",
    "a word": "hello",
    "a tab": "a:\n\tb: 1",
    "not closed": "a: [1, 2",
    "two documents": "a: 1\n---\nb: 2",
    "a nul byte": "a: \0",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_it_is_refused_fast_and_in_little_memory(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "x.yaml"
    file.write_text(HOSTILE[kind], encoding="utf-8")
    tracemalloc.start()
    start = time.process_time()
    try:
        with pytest.raises(ConfigError) as caught:
            yaml_file.read(file)
        seconds, (_, peak) = time.process_time() - start, tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert str(file) in str(caught.value)
    assert "\n" not in caught.value.problems[0]
    assert seconds < 2
    assert peak < 20_000_000
    assert not (tmp_path / "canary").exists()


def test_bytes_that_are_no_utf8_are_told_with_their_place(tmp_path):
    file = tmp_path / "x.yaml"
    file.write_bytes(b"a: \xff")
    with pytest.raises(ConfigError, match="byte 3 is 0xff"):
        yaml_file.read(file)


def test_a_folder_or_nothing_is_told_as_such(tmp_path):
    for file in (tmp_path, tmp_path / "none.yaml"):
        with pytest.raises(ConfigError, match="cannot be read"):
            yaml_file.read(file)


def test_empty_files_and_honest_aliases_are_read(tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text("", encoding="utf-8")
    assert yaml_file.read(file) == {}
    file.write_text("a: &a {b: 1}\nc: *a\nd: {<<: *a, e: 2}\n", encoding="utf-8")
    assert yaml_file.read(file) == {"a": {"b": 1}, "c": {"b": 1}, "d": {"b": 1, "e": 2}}


def test_a_hostile_recipe_is_refused_by_the_whole_composition(own_recipe, refused):
    assert refused(own_recipe("bomb", BOMB)).exit_code == 2
    assert refused(own_recipe("deep", HOSTILE["block depth"])).exit_code == 2
