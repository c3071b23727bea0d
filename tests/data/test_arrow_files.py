"""Parquet and Arrow, with the types that pandas and datasets write."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from finetune.data import spool
from finetune.data.arrow_files import plain_table, read_arrow
from finetune.errors import DataError

ODD = pa.table(
    {
        "text": pa.array(["a", None, "b"], pa.large_string()),
        "kind": pa.array(["x", "y", "x"]).dictionary_encode(),
        "tags": pa.array([["p"], [], None], pa.large_list(pa.large_string())),
        "pair": pa.array([{"a": "1"}] * 3, pa.struct([("a", pa.large_string())])),
        "n": pa.array([1, 2, 3]),
    }
)
PLAIN = pa.schema(
    [
        ("text", pa.string()),
        ("kind", pa.string()),
        ("tags", pa.list_(pa.string())),
        ("pair", pa.struct([("a", pa.string())])),
        ("n", pa.int64()),
    ]
)


@pytest.mark.parametrize("format", ["parquet", "file", "stream", "lz4"])
def test_large_and_coded_strings_become_plain_ones(tmp_path, format):
    path = tmp_path / "x"
    if format == "parquet":
        pq.write_table(ODD, path, row_group_size=2)
    else:
        options = pa.ipc.IpcWriteOptions(compression="lz4" if format == "lz4" else None)
        make = pa.ipc.new_stream if format == "stream" else pa.ipc.new_file
        with pa.OSFile(str(path), "wb") as sink, make(sink, ODD.schema, options=options) as writer:
            writer.write_table(ODD, max_chunksize=2)
    table = read_arrow(path, "x", "parquet" if format == "parquet" else "arrow")
    assert table.schema == PLAIN
    assert table.to_pylist() == ODD.to_pylist()


def test_a_large_file_is_not_held_in_memory(tmp_path, monkeypatch):
    pq.write_table(pa.table({"text": ["x" * 100] * 100_000}), tmp_path / "x.parquet")
    monkeypatch.setattr(spool, "MEMORY_BYTES", 1 << 20)
    monkeypatch.setattr(spool.Spool.__init__, "__kwdefaults__", {"memory_bytes": 1 << 20})
    before = pa.total_allocated_bytes()
    table = read_arrow(tmp_path / "x.parquet", "x", "parquet")
    assert table.num_rows == 100_000
    assert pa.total_allocated_bytes() - before < 5 << 20


def test_class_numbers_out_of_range_are_missing():
    described = '{"info": {"features": {"y": {"_type": "ClassLabel", "names": ["no", "yes"]}}}}'
    schema = pa.schema([("y", pa.int64())], metadata={"huggingface": described})
    table = plain_table(pa.table({"y": [1, 0, -1, 7, None]}, schema=schema))
    assert table["y"].to_pylist() == ["yes", "no", None, None, None]


def test_what_is_none_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "x").write_bytes(b"PAR1 not really")
    for format in ("parquet", "arrow"):
        with pytest.raises(DataError, match=f"cannot be read as {format}"):
            read_arrow(tmp_path / "x", "x", format)
