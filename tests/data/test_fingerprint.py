"""Another content under the same name is noticed, wherever it lies, or it is said that it can't."""

from __future__ import annotations

import sqlite3
from array import array

import pytest

from finetune.data import fingerprint
from finetune.data.kinds import Image, Label, Text

KINDS = {"text": Text(), "label": Label()}


def of(kinds=KINDS, **settings):
    return fingerprint.of({"kinds": kinds, **settings})


def differences(before, now):
    return [name for name, _, _ in before.compared(now)[0]]


def test_a_file_and_each_file_of_a_folder_is_known_by_its_content(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "train.csv").write_text("a")
    (folder / "test.csv").write_text("b")
    before = of(path=str(folder))
    assert set(before.parts) == {"path:data/train.csv", "path:data/test.csv"}
    (folder / "train.csv").write_text("A")
    (folder / "more.csv").write_text("c")
    assert differences(before, of(path=str(folder))) == [
        "path:data/more.csv",
        "path:data/train.csv",
    ]
    file = of(train=str(folder / "train.csv"), test=str(folder / "test.csv"))
    assert set(file.parts) == {"train:train.csv", "test:test.csv"}
    assert file.not_verifiable == {}


def test_every_file_of_a_pattern_is_known(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "rows.csv").write_text(name)
    before = of(path=f"{tmp_path}/*/rows.csv")
    assert set(before.parts) == {"path:a/rows.csv", "path:b/rows.csv"}
    (tmp_path / "b" / "rows.csv").write_text("changed")
    assert differences(before, of(path=f"{tmp_path}/*/rows.csv")) == ["path:b/rows.csv"]


def test_a_table_that_may_name_pictures_is_known_but_for_them(tmp_path):
    (tmp_path / "rows.csv").write_text("image,label")
    found = of(kinds={"image": Image(), "label": Label()}, path=str(tmp_path / "rows.csv"))
    assert set(found.parts) == {"path:rows.csv"}
    assert "not looked at" in found.not_verifiable["path"]


def test_a_database_file_is_known_and_a_server_is_not(tmp_path):
    file = tmp_path / "rows.db"
    with sqlite3.connect(file) as connection:
        connection.execute("create table t (a)")
    before = of(path=f"sqlite:///{file}")
    assert list(before.parts) == ["path:rows.db"]
    with sqlite3.connect(file) as connection:
        connection.execute("insert into t values (1)")
    assert differences(before, of(path=f"sqlite:///{file}")) == ["path:rows.db"]
    server = of(path="postgresql://user:secret@host/db")
    assert server.parts == {}
    assert list(server.not_verifiable) == ["path"]
    assert "secret" not in str(server)


def test_an_object_in_a_store_is_known_by_what_the_store_says():
    import fsspec

    store = fsspec.filesystem("memory")
    store.pipe("/bucket/rows.csv", b"a")
    before = of(path="memory://bucket/rows.csv")
    assert list(before.parts) == ["path:rows.csv"]
    assert differences(before, of(path="memory://bucket/rows.csv")) == []
    store.pipe("/bucket/rows.csv", b"b")
    assert differences(before, of(path="memory://bucket/rows.csv")) == ["path:rows.csv"]
    store.rm("/bucket/rows.csv")
    assert before.compared(of(path="memory://bucket/rows.csv"))[1]


def test_a_hub_data_set_is_known_by_its_commit(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    commit = "a" * 40
    pinned = of(path="org/name", reading={"revision": commit})
    assert pinned.parts == {"path:org/name": f"commit {commit}"}
    assert of(path="org/name").not_verifiable == {"path": "the hub does not say its commit now"}
    refs = tmp_path / "datasets--org--name" / "refs"
    refs.mkdir(parents=True)
    (refs / "main").write_text("b" * 40)
    assert of(path="org/name").parts == {"path:org/name": f"commit {'b' * 40}"}


def test_sources_of_a_mix_are_known_each(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text(name)
    mix = {name: {"path": str(tmp_path / f"{name}.csv")} for name in ("a", "b")}
    assert set(of(mix=mix).parts) == {"mix.a:a.csv", "mix.b:b.csv"}


def test_rows_from_python_are_known_by_their_values():
    rows = [{"text": "a", "label": 1}, {"text": "b", "label": None, "more": [1, (2.5, b"x")]}]
    before = of(rows=rows)
    assert differences(before, of(rows=[dict(row) for row in rows])) == []
    for other in (rows[::-1], rows[:1], [*rows, {}], [{**rows[0], "label": "1"}, rows[1]],
                  [{**rows[0], "label": True}, rows[1]]):  # fmt: skip
        assert differences(before, of(rows=other)) == ["rows:all"]
    parts = of(rows={"train": rows, "test": rows})
    assert set(parts.parts) == {"rows:train", "rows:test"}
    assert of(rows=[{"sound": array("f", [1, 2])}]) != of(rows=[{"sound": array("f", [1, 3])}])


@pytest.mark.parametrize("rows", [iter([{"a": 1}]), [{"a": object()}]])
def test_rows_that_cannot_be_read_twice_or_have_no_bytes_are_said_to_be_unknown(rows):
    found = of(rows=rows)
    assert found.parts == {}
    assert list(found.not_verifiable) == ["rows"]


def test_what_is_gone_cannot_be_compared_and_is_no_change(tmp_path):
    (tmp_path / "rows.csv").write_text("a")
    before = of(path=str(tmp_path / "rows.csv"))
    (tmp_path / "rows.csv").unlink()
    assert before.compared(of(path=str(tmp_path / "rows.csv"))) == (
        [], {"path": fingerprint.GONE}
    )  # fmt: skip
