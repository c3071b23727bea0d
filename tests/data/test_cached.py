"""Prepare is not done twice for the same content, and is done for another byte."""

import shutil

import pytest

from finetune.data import cached
from finetune.data.cached import prepare_cached, source_hashes
from finetune.data.kinds import Image, Label, Text
from finetune.data.prepare import SplitOptions

KINDS = {"text": Text(), "label": Label()}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FINETUNE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def work(monkeypatch):
    """How often anything was really prepared."""
    done = []
    real = cached.prepare
    monkeypatch.setattr(cached, "prepare", lambda **settings: done.append(1) or real(**settings))
    return done


def settings(path, **more):
    return {"kinds": KINDS, "path": path, "split": SplitOptions(seed=1), **more}


def csv(folder, last="b"):
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"text {n},{'ab'[n % 2]}" for n in range(39)]
    (folder / "rows.csv").write_text("\n".join(["text,label", *lines, f"text 39,{last}"]) + "\n")
    return folder / "rows.csv"


def test_the_same_content_is_no_work_wherever_it_lies(tmp_path, work):
    first, hashes, known = prepare_cached(settings(csv(tmp_path / "one")))
    again, same, known_again = prepare_cached(settings(csv(tmp_path / "two")))
    assert (len(work), known, known_again) == (1, False, True)
    assert hashes == same
    assert again.audit == first.audit
    assert again.splits["test"].to_list() == first.splits["test"].to_list()
    assert again.fingerprints == first.fingerprints


@pytest.mark.parametrize("change", ["byte", "seed", "columns", "clean"])
def test_another_byte_or_setting_is_work(tmp_path, work, change):
    file = csv(tmp_path)
    prepare_cached(settings(file))
    if change == "byte":
        csv(tmp_path, last="a")
    more = {
        "seed": {"split": SplitOptions(seed=2)},
        "columns": {"columns": {"text": "{text}!"}},
        "clean": {"clean": {"html": {"action": "report"}}},
    }.get(change, {})
    prepare_cached(settings(file, **more))
    assert len(work) == 2


def test_a_damaged_entry_is_work(tmp_path, work):
    file = csv(tmp_path)
    prepare_cached(settings(file))
    for entry in (tmp_path / "cache" / "prepared").iterdir():
        (entry / "train.arrow").write_bytes(b"")
    prepare_cached(settings(file))
    assert len(work) == 2


def test_half_of_an_entry_is_none(tmp_path, work):
    file = csv(tmp_path)
    prepare_cached(settings(file))
    (entry,) = (tmp_path / "cache" / "prepared").iterdir()
    shutil.copytree(entry, entry.with_name("other"))
    (entry / "manifest.json").unlink()
    prepare_cached(settings(file))
    assert len(work) == 2


def test_rows_from_python_and_tables_that_name_pictures_beside_them_are_not_kept(tmp_path):
    assert source_hashes(settings(None, rows=[{"text": "a"}])) == {}
    file = csv(tmp_path)
    assert source_hashes({"kinds": {"image": Image()}, "path": file}) == {}
    assert source_hashes({"kinds": {"image": Image()}, "path": tmp_path}) != {}
    assert source_hashes(settings("org/hub-data-set")) == {}


def test_each_file_of_a_mix_and_of_each_split_counts(tmp_path):
    one, two = csv(tmp_path / "one"), csv(tmp_path / "two", last="a")
    split = source_hashes({"kinds": KINDS, "train": one, "test": two})
    assert set(split) == {"train:rows.csv", "test:rows.csv"}
    mixed = source_hashes({"kinds": KINDS, "mix": {"a": {"path": one}, "b": {"path": two}}})
    assert set(mixed) == {"mix.a:rows.csv", "mix.b:rows.csv"}
    assert mixed["mix.a:rows.csv"] != mixed["mix.b:rows.csv"]
