"""A spool gives back what it was given, from memory or from a file that nobody sees."""

from __future__ import annotations

import tempfile

import numpy as np
import pyarrow as pa
import pytest

from finetune.data.spool import Spool, filtered, spooled

SCHEMA = pa.schema([("text", pa.string()), ("number", pa.int64())])


def batches(count: int):
    return [
        pa.record_batch([[f"{i} a", None], [i, i + 1]], schema=SCHEMA) for i in range(count)
    ]  # fmt: skip


@pytest.mark.parametrize("memory_bytes", [0, 1 << 20])
def test_what_is_written_comes_back_in_order(memory_bytes):
    spool = Spool(SCHEMA, memory_bytes=memory_bytes)
    for batch in batches(50):
        spool.write(batch)
    assert spool.table() == pa.Table.from_batches(batches(50))


def test_no_batch_makes_an_empty_table_of_the_schema():
    assert spooled(SCHEMA, []).schema == SCHEMA


def test_a_large_spool_leaves_no_file_and_holds_little_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = pa.total_allocated_bytes()
    spool = Spool(SCHEMA, memory_bytes=1000)
    for batch in batches(2000):
        spool.write(batch)
    table = spool.table()
    assert table.num_rows == 4000
    assert list(tmp_path.iterdir()) == []
    assert pa.total_allocated_bytes() - before < 10_000


def test_filtering_keeps_the_rows_that_stay_whatever_the_batches():
    table = pa.Table.from_batches(batches(10))
    stays = np.arange(20) % 3 == 0
    assert filtered(table, stays).to_pylist() == table.filter(pa.array(stays)).to_pylist()
    assert filtered(table, np.ones(20, bool)) is table
