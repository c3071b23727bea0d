"""Object storage, played by fsspec's own in memory."""

import tempfile
from pathlib import Path

import fsspec
import pytest

from finetune.data import remote
from finetune.data.sources import UNCUT, Reading, read
from finetune.errors import DataError, HubError


@pytest.fixture
def bucket():
    memory = fsspec.filesystem("memory")

    def put(name, content="a\n1\n"):
        memory.pipe(f"/bucket/{name}", content.encode() if isinstance(content, str) else content)

    yield put
    memory.store.clear()


def test_a_file_a_folder_and_a_pattern_are_read_as_if_they_were_here(bucket):
    bucket("set/train.csv", "a\n1\n2\n")
    bucket("set/test.jsonl", '{"a": "3"}\n')
    bucket("set/README.md")
    (one,) = read("memory://bucket/set/train.csv").values()
    assert (list(one.ids), one.root) == (["train.csv:2", "train.csv:3"], None)
    assert {name: part.table.num_rows for name, part in read("memory://bucket/set").items()} == {
        "test": 1,
        "train": 2,
    }
    bucket("shards/part-1.csv")
    bucket("shards/part-2.csv", "a\n2\n")
    bucket("shards/other.csv")
    found = read("memory://bucket/shards/part-*.csv")
    assert list(found[UNCUT].ids) == ["part-1.csv:2", "part-2.csv:2"]


def test_split_folders_are_found(bucket):
    bucket("set/train/x.csv")
    bucket("set/test/x.csv")
    assert list(read("memory://bucket/set")) == ["test", "train"]


def test_only_tables_are_fetched_and_nothing_stays(bucket, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    bucket("set/x.csv")
    bucket("set/model.safetensors", "large")
    fetched = []
    fetch = remote._fetch
    monkeypatch.setattr(remote, "_fetch", lambda *given: (fetched.append(given[1]), fetch(*given)))
    read("memory://bucket/set")
    assert fetched == ["/bucket/set/x.csv"]
    assert list(tmp_path.iterdir()) == []


def test_a_file_url_is_a_file(write):
    path = write("x.csv", "a\n1\n")
    (source,) = read(f"file://{path}").values()
    assert source.ids == ["x.csv:2"]


@pytest.mark.parametrize(
    ("url", "said", "advice"),
    [
        ("https://example.com/x.csv", "is on the web", "Download it first"),
        ("http://169.254.169.254/latest", "is on the web", "Download it first"),
        ("zip://x.csv::memory://bucket/x.zip", "neither object storage", "s3"),
        ("file:///bucket/x.csv::memory://y", "neither object storage", "s3"),
        ("simplecache::memory://bucket/x.csv", "neither object storage", "s3"),
        ("nosuch://bucket/x.csv", "neither object storage", "s3"),
        ("memory://bucket/none.csv", "does not exist", "address"),
        ("memory://bucket/*.none", "Nothing fits", "pattern"),
    ],
)
def test_what_is_no_store_is_refused(url, said, advice):
    with pytest.raises(DataError, match=said) as raised:
        read(url)
    assert advice in raised.value.fix


def test_a_missing_driver_says_what_to_install(monkeypatch):
    def missing(url):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(DataError, match="not installed") as raised:
        read("s3://key:secret@bucket/x.csv")
    assert raised.value.fix == "pip install s3fs"
    assert "secret" not in str(raised.value)


def test_a_store_out_of_reach_is_no_fault_of_the_data(bucket, monkeypatch):
    bucket("x.csv")

    def fail(*given):
        raise TimeoutError("secret host")

    monkeypatch.setattr(remote, "_fetch", fail)
    with pytest.raises(HubError, match=r"could not be read \(TimeoutError\)") as raised:
        read("memory://bucket/x.csv")
    assert "secret" not in str(raised.value)


def test_pictures_in_a_store_have_to_be_downloaded(bucket, png):
    bucket("set/red/1.png", png())
    with pytest.raises(DataError, match="pictures or recordings") as raised:
        read("memory://bucket/set")
    assert "Download" in raised.value.fix


def test_a_name_in_the_store_does_not_lead_out(tmp_path):
    with pytest.raises(DataError, match="leads out"):
        remote._fetch(None, "bucket/../../x", tmp_path, "../x")
    assert list(tmp_path.iterdir()) == []


def test_options_reach_a_fetched_file(bucket):
    bucket("x.csv", "1;2\n")
    (source,) = read("memory://bucket/x.csv", Reading(header=["a", "b"])).values()
    assert source.table.to_pylist() == [{"a": "1", "b": "2"}]
    assert isinstance(source.ids[0], str)
    assert not Path("bucket").exists()
