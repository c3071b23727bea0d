"""The cache: same content, no work; one byte changed, work; a damaged entry, work."""

import pytest
from datasets import Dataset

from finetune.data import cache
from finetune.data.prepare import Prepared


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FINETUNE_CACHE", str(tmp_path / "cache"))


def prepared() -> Prepared:
    rows = Dataset.from_dict({"id": ["a:2", "a:3"], "text": ["one", "zwei ü"]})
    return Prepared(
        splits={"train": rows, "test": rows.select([0])},
        audit={"rows": {"read": 2, "kept": 2, "dropped": 0}},
        fingerprints={"train": "x", "test": "y"},
        quarantine=[{"id": "a:4", "step": "html", "before": "<b>"}],
    )


def test_what_is_stored_comes_back():
    cache.store("k", prepared())
    found = cache.load("k")
    assert found is not None
    assert found.splits["train"].to_list() == prepared().splits["train"].to_list()
    assert found.splits["test"].to_list() == [{"id": "a:2", "text": "one"}]
    assert (found.audit, found.fingerprints, found.quarantine) == (
        prepared().audit, prepared().fingerprints, prepared().quarantine
    )  # fmt: skip


def test_the_key_is_of_the_content_and_not_of_the_place(tmp_path):
    keys = []
    for folder, content in (("one", "a,b\n1,2\n"), ("two", "a,b\n1,2\n"), ("three", "a,b\n1,3\n")):
        file = tmp_path / folder / "rows.csv"
        file.parent.mkdir()
        file.write_text(content)
        keys.append(cache.key_of(cache.source_hashes([file]), {"seed": 1}))
    assert keys[0] == keys[1]
    assert keys[0] != keys[2]
    same = cache.source_hashes([tmp_path / "one" / "rows.csv"])
    assert cache.key_of(same, {"seed": 2}) != keys[0]


def test_every_file_of_a_folder_counts(tmp_path):
    (tmp_path / "data" / "deep").mkdir(parents=True)
    (tmp_path / "data" / "deep" / "a.png").write_bytes(b"1")
    (tmp_path / "data" / "metadata.csv").write_bytes(b"2")
    found = cache.source_hashes([tmp_path / "data"])
    assert set(found) == {"data/deep/a.png", "data/metadata.csv"}


@pytest.mark.parametrize("name", ["train.arrow", "facts.json", "quarantine.jsonl", "manifest.json"])
@pytest.mark.parametrize("damage", ["cut", "flip", "remove"])
def test_a_damaged_entry_is_made_anew(name, damage):
    cache.store("k", prepared())
    file = cache.folder() / "k" / name
    content = file.read_bytes()
    if damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "flip":
        file.write_bytes(content[:-3] + bytes([content[-3] ^ 1]) + content[-2:])
    else:
        file.unlink()
    assert cache.load("k") is None


def test_only_the_entries_used_last_are_kept(monkeypatch):
    import os

    monkeypatch.setattr(cache, "ENTRIES", 2)
    for number in range(3):
        cache.store(f"k{number}", prepared())
        os.utime(cache.folder() / f"k{number}", (number, number))
    cache.store("k3", prepared())
    assert {entry.name for entry in cache.folder().iterdir()} == {"k2", "k3"}


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("FINETUNE_CACHE", str(tmp_path / "file"))
    cache.store("k", prepared())
    assert cache.load("k") is None
