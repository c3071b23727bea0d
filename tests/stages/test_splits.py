"""The splits on disk: the only data that later stages read."""

from __future__ import annotations

import pytest
from datasets import Dataset

from finetune.errors import StorageError
from finetune.runs.folder import RunFolder
from finetune.stages import splits

ROWS = [{"id": f"a:{n}", "text": f"t{n}"} for n in range(5)]


class Encoder:
    """Counts how often a row is encoded."""

    lazy = True

    def __init__(self):
        self.encoded = []

    def encode(self, rows):
        self.encoded += [row["id"] for row in rows]
        return [{"length": len(row["text"]), "row": row["id"]} for row in rows]


def test_what_is_written_is_read_back(tmp_path):
    run = RunFolder(tmp_path)
    splits.write(run, {"train": Dataset.from_list(ROWS)})
    assert splits.read(run, "train").to_list() == ROWS
    assert splits.read(run, "train", max_rows=2).to_list() == ROWS[:2]
    assert not list(run.data.glob("*.tmp"))


def test_pieces_cover_all_rows_in_order():
    pieces = list(splits.in_pieces(Dataset.from_list(ROWS), 2))
    assert [len(piece) for piece in pieces] == [2, 2, 1]
    assert [row for piece in pieces for row in piece] == ROWS


def test_encoded_rows_are_mapped_in_any_order(tmp_path):
    run, task = RunFolder(tmp_path), Encoder()
    splits.write_encoded(run, "train", (task.encode(rows) for rows in (ROWS[:3], ROWS[3:])))
    task.lazy = False
    fetch = splits.fetcher(run, task, "train", Dataset.from_list(ROWS))
    assert [item["row"] for item in fetch([4, 0, 4])] == ["a:4", "a:0", "a:4"]
    assert len(task.encoded) == 5


def test_lazy_rows_are_encoded_once_and_kept(tmp_path):
    task = Encoder()
    fetch = splits.fetcher(RunFolder(tmp_path), task, "train", Dataset.from_list(ROWS))
    assert [item["row"] for item in fetch([3, 1])] == ["a:3", "a:1"]
    assert [item["row"] for item in fetch([1, 2])] == ["a:1", "a:2"]
    assert task.encoded == ["a:3", "a:1", "a:2"]


def test_lazy_rows_beyond_the_budget_are_made_again(tmp_path, monkeypatch):
    monkeypatch.setattr(splits, "CACHED_BYTES", 0)
    task = Encoder()
    fetch = splits.fetcher(RunFolder(tmp_path), task, "train", Dataset.from_list(ROWS))
    assert fetch([1]) == fetch([1])
    assert task.encoded == ["a:1", "a:1"]


def test_a_file_where_the_folder_belongs_is_a_storage_error(tmp_path):
    run = RunFolder(tmp_path)
    run.data.mkdir()
    (run.data / "encoded").write_text("x")
    with pytest.raises((StorageError, FileExistsError)):
        splits.write_encoded(run, "train", iter([[{"length": 1}]]))


class Louder:
    """Changes a text by its key, as an augmenter does."""

    def rows(self, rows, keys):
        return [{**row, "id": f"{row['id']}{key}"} for row, key in zip(rows, keys, strict=True)]

    def features(self, features, keys):
        return [{**item, "key": key} for item, key in zip(features, keys, strict=True)]


@pytest.mark.parametrize("lazy", [True, False])
def test_visited_rows_are_changed_each_time_and_never_kept(tmp_path, lazy):
    run, task = RunFolder(tmp_path), Encoder()
    splits.write_encoded(run, "train", (task.encode(rows) for rows in (ROWS,)))
    task.lazy = lazy
    fetch = splits.fetcher(run, task, "train", Dataset.from_list(ROWS), Louder())
    one, two = fetch([3, 3], [(0, 0), (1, 2)])
    assert [one["row"], two["row"]] == ["a:3(3, 0, 0)", "a:3(3, 1, 2)"]
    assert two["key"] == (3, 1, 2)
    assert fetch.cache == {}
    assert [item["row"] for item in fetch([3])] == ["a:3"], "without a visit the row is what it is"


def test_a_process_that_ends_with_the_epoch_keeps_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(splits, "in_worker", lambda: True)
    task = Encoder()
    fetch = splits.fetcher(RunFolder(tmp_path), task, "train", Dataset.from_list(ROWS))
    assert fetch([1]) == fetch([1])
    assert task.encoded == ["a:1", "a:1"]
    assert fetch.cache == {}


def test_rows_carry_what_is_kept_and_nothing_of_the_media_is_touched():
    from finetune.data.kinds import Image, Text

    class Captions(Encoder):
        def __init__(self):
            super().__init__()
            self.columns = {"image": Image(), "text": Text()}

        def encode(self, rows):
            assert all("image" not in row for row in rows)
            return super().encode(rows)

    raw = Dataset.from_list([{**row, "image": "x"} for row in ROWS])
    fetch = splits.Carrying(Captions(), raw, "pixels", lambda number: number * 10)
    assert fetch([3, 1], [(0, 0), (0, 0)]) == [
        {"length": 2, "row": "a:3", "pixels": 30},
        {"length": 2, "row": "a:1", "pixels": 10},
    ]
