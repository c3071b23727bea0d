"""One file of any format, and what can be wrong with it before it is opened."""

import os
from pathlib import Path

import pytest

from finetune.data.files import FORMATS, READ, Reading, format_of, read_file
from finetune.errors import DataError


def test_every_suffix_leads_to_a_format_that_is_read_compressed_or_not():
    assert set(FORMATS.values()) < set(READ)
    for suffix, format in FORMATS.items():
        assert format_of(Path(f"x{suffix.upper()}")) == format
        assert format_of(Path(f"x{suffix}.gz")) == format_of(Path(f"x{suffix}.zst")) == format
    assert format_of(Path("x.txt")) is None


@pytest.mark.parametrize("name", ["x.parquet.gz", "x.xlsx.zst"])
def test_formats_that_are_not_text_are_not_unpacked(write, name):
    with pytest.raises(DataError, match="is a compressed"):
        read_file(write(name, "?"), name, Reading())


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "x.csv")
    with pytest.raises(DataError, match="no regular file"):
        read_file(tmp_path / "x.csv", "x.csv", Reading())
