"""Rows to be answered: input columns only, no splits, labels not needed."""

from __future__ import annotations

import io

import pytest

from finetune.data.inputs import read_inputs
from finetune.errors import DataError
from finetune.tasks.text_classification import TextClassification
from finetune.tasks.zero_shot_image_classification import ZeroShotImageClassification

KINDS = TextClassification.columns


def write(folder, text, name="rows.csv"):
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def test_labels_need_not_be_there(tmp_path):
    rows = read_inputs(write(tmp_path, "text\nhello\nthere\n"), kinds=KINDS)
    assert rows["text"] == ["hello", "there"]
    assert rows["id"] == ["rows.csv:2", "rows.csv:3"]


def test_every_row_is_kept_in_its_order(tmp_path):
    text = "text,label\n" + "".join(f"t{n % 3},a\n" for n in range(50))
    rows = read_inputs(write(tmp_path, text), kinds=KINDS)
    assert list(rows["text"]) == [f"t{n % 3}" for n in range(50)]


def test_columns_are_named_as_in_training_and_absent_targets_left_out(tmp_path):
    columns = {"text": "body", "label": "queue"}
    rows = read_inputs(write(tmp_path, "body,number\nhello,1\n"), kinds=KINDS, columns=columns)
    assert rows["text"] == ["hello"]


def test_a_missing_input_column_is_an_error(tmp_path):
    with pytest.raises(DataError, match="text"):
        read_inputs(write(tmp_path, "number\n1\n"), kinds=KINDS)
    with pytest.raises(DataError, match="body"):
        read_inputs(write(tmp_path, "text\nhello\n"), kinds=KINDS, columns={"text": "body"})


@pytest.mark.parametrize("text", ["", "text\n"])
def test_a_file_without_rows_is_an_error(tmp_path, text):
    with pytest.raises(DataError):
        read_inputs(write(tmp_path, text), kinds=KINDS)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"none\.csv"):
        read_inputs(tmp_path / "none.csv", kinds=KINDS)


def test_an_empty_text_is_named_by_its_row(tmp_path):
    with pytest.raises(DataError, match=r"rows\.jsonl:2"):
        read_inputs(write(tmp_path, '{"text": "a"}\n{"text": null}\n', "rows.jsonl"), kinds=KINDS)


def test_pictures_are_read_in_and_an_unreadable_one_is_named(tmp_path):
    from PIL import Image

    picture = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(picture, "PNG")
    (tmp_path / "a.png").write_bytes(picture.getvalue())
    kinds = ZeroShotImageClassification.columns
    file = write(tmp_path, '{"image": "a.png", "text": "red"}\n', "rows.jsonl")
    rows = read_inputs(file, kinds=kinds)
    assert rows[0]["image"]["bytes"] == picture.getvalue()
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"rows\.jsonl:1"):
        read_inputs(file, kinds=kinds)
