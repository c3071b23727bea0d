"""Which file of a folder is which split; links out of it are refused."""

import pytest

from finetune.data.sources import UNCUT, Reading, read
from finetune.errors import DataError


def test_different_files_of_a_split_name_the_settings_that_choose(write):
    for name in ("train.en-de", "train.en-es", "test.en-de", "test.en-es", "test.en-fr"):
        path = write(f"set/{name}.csv", "a\n1\n")
    with pytest.raises(DataError, match="several files for the split `t") as raised:
        read(path.parent)
    folder = path.parent
    assert raised.value.fix == (
        f"Set data.train={folder}/train.en-de.csv data.test={folder}/test.en-de.csv, or "
        f"data.train={folder}/train.en-es.csv data.test={folder}/test.en-es.csv."
    )


def test_different_files_without_splits_name_one_and_a_pattern(write):
    write("a set/a.csv", "a\n1\n")
    path = write("a set/b.csv", "a\n1\n")
    with pytest.raises(DataError, match=r"several files: `a\.csv`, `b\.csv`") as raised:
        read(path.parent)
    assert f"data.path='{path.parent}/a.csv'" in raised.value.fix
    assert f"'{path.parent}/*.csv' for all of them" in raised.value.fix


def test_a_folder_that_datasets_saved_is_its_arrow_files(tmp_path):
    import datasets

    made = datasets.Dataset.from_dict({"a": ["x", "y"]})
    made.save_to_disk(str(tmp_path / "set"))
    assert read(tmp_path / "set")[UNCUT].table["a"].to_pylist() == ["x", "y"]
    datasets.DatasetDict({"train": made}).save_to_disk(str(tmp_path / "sets"))
    assert list(read(tmp_path / "sets")) == ["train"]


def test_one_file_beside_what_describes_it_is_that_file(write):
    path = write("set/export.csv.gz", __import__("gzip").compress(b"a\n1\n"))
    for name in ("README.md", "LICENSE", "license.txt", "dataset_info.json", ".hidden.csv"):
        write(f"set/{name}", "about")
    assert read(path.parent)[UNCUT].ids == ["export.csv.gz:2"]


@pytest.mark.parametrize("linked", ["set/x.csv", "set/train", "set/metadata.csv"])
def test_a_link_out_of_the_folder_is_refused(write, tmp_path, linked, wav):
    secret = write("secret/x.csv", "a\n1\n")
    (tmp_path / "set").mkdir()
    (tmp_path / linked).symlink_to(secret.parent if linked == "set/train" else secret)
    if "metadata" in linked:
        write("set/a.wav", wav())
    with pytest.raises(DataError, match="leads out of the folder"):
        read(tmp_path / "set")


def test_a_link_inside_the_folder_and_a_linked_folder_are_followed(write, tmp_path):
    path = write("set/.store/x", "a\n1\n")
    (tmp_path / "set" / "x.csv").symlink_to(path)
    (tmp_path / "alias").symlink_to(tmp_path / "set")
    assert read(tmp_path / "alias")[UNCUT].ids == ["x.csv:2"]


def test_a_pattern_refuses_links_out(write, tmp_path):
    secret = write("secret/x.csv", "a\n1\n")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "x.csv").symlink_to(secret)
    with pytest.raises(DataError, match="leads out of the folder"):
        read(tmp_path / "set" / "*.csv")
    (tmp_path / "set" / "deep").symlink_to(secret.parent)
    with pytest.raises(DataError, match="leads out of the folder"):
        read(tmp_path / "set" / "d*" / "*.csv")


def test_an_archive_alone_in_a_folder_is_named(write):
    path = write("set/all.zip", "PK")
    with pytest.raises(DataError, match=r"holds an archive, `all\.zip`"):
        read(path.parent)


def test_a_format_chooses_among_files(write):
    path = write("set/x.csv", "a\n1\n")
    write("set/y.jsonl", '{"a": "2"}\n')
    assert read(path.parent, Reading(format="jsonl"))[UNCUT].ids == ["y.jsonl:1"]
