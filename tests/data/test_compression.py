"""Compressed files are read as they are; archives and bombs are refused."""

import gzip
import tracemalloc

import pytest
import zstandard

from finetune.data import compression, delimited
from finetune.data.sources import read
from finetune.errors import DataError

CSV = "text,label\n" + "hello,1\n" * 1000


def only(found):
    (source,) = found.values()
    return source


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        (".gz", gzip.compress(CSV.encode())),
        (".gz", gzip.compress(CSV[:4000].encode()) + gzip.compress(CSV[4000:].encode())),
        (".zst", zstandard.compress(CSV.encode())),
        (".zst", zstandard.compress(CSV[:400].encode()) + zstandard.compress(CSV[400:].encode())),
        ("", gzip.compress(CSV.encode())),
        ("", zstandard.compress(CSV.encode())),
    ],
    ids=["gz", "gz members", "zst", "zst frames", "gz by content", "zst by content"],
)
def test_a_compressed_file_holds_its_rows(write, suffix, content):
    found = only(read(write("x.csv" + suffix, content)))
    assert found.table.num_rows == 1000
    assert found.ids[0] == f"x.csv{suffix}:2"


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        (".gz", gzip.compress(CSV.encode())[:-9]),
        (".gz", b"not compressed"),
        (".zst", b"not compressed"),
        (".zst", zstandard.compress(CSV.encode())[:-5] + b"\0\0\0\0\0"),
    ],
    ids=["gz cut", "gz none", "zst none", "zst spoilt"],
)
def test_a_damaged_file_is_refused(write, suffix, content):
    kind = "gzip" if suffix == ".gz" else "zstandard"
    with pytest.raises(DataError, match=f"not a whole {kind} file"):
        read(write("x.csv" + suffix, content))


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress], ids=["gz", "zst"])
def test_a_bomb_is_stopped_in_constant_memory(write, monkeypatch, pack):
    monkeypatch.setattr(compression, "FREE_BYTES", 1 << 20)
    monkeypatch.setattr(delimited, "BATCH_CHARACTERS", 1 << 20)
    read(write("imports.csv", pack(b"a\n1\n")))
    path = write("x.csv", pack((b"a" * 999 + b"\n") * (32 << 10)))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="it was stopped"):
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz", "x.tgz", "x.csv.zip", "x.7z"])
def test_archives_are_never_unpacked(write, name):
    with pytest.raises(DataError, match="is an archive") as raised:
        read(write(name, "PK"))
    assert "Unpack it" in raised.value.fix


def test_other_compressions_say_what_to_use(write):
    with pytest.raises(DataError, match=r"not read \(.bz2\)"):
        read(write("x.csv.bz2", "?"))


def test_a_zip_under_the_name_of_a_table_is_named(write):
    with pytest.raises(DataError, match="zip archive or a workbook"):
        read(write("x.csv", b"PK\x03\x04rest"))
