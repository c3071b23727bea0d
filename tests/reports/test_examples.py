"""Examples: mistakes first, inputs beside them, personal data hidden."""

from __future__ import annotations

import base64
import io

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from finetune.reports.examples import examples

from . import folders


def test_mistakes_come_before_right_answers(tmp_path):
    folder = folders.classification(tmp_path / "run")
    shown = examples(folder, 20)
    assert [each.right for each in shown] == sorted(each.right for each in shown)
    assert any(each.right for each in shown)


def test_the_surest_mistakes_come_first(tmp_path):
    folders.predictions(tmp_path, [("a", "x", "y", 0.2), ("b", "x", "y", 0.9), ("c", "x", "x", 1)])
    assert [each.id for each in examples(tmp_path, 3)] == ["b", "a", "c"]


def test_the_surest_mistakes_of_a_preference_are_those_of_the_largest_margin(tmp_path):
    rows = [("a", "chosen", "rejected", -0.2), ("b", "chosen", "rejected", -6.0),
            ("c", "chosen", "neither", 0.0), ("d", "chosen", "chosen", 9.0)]  # fmt: skip
    folders.predictions(tmp_path, rows)
    assert [each.id for each in examples(tmp_path, 4, "preference")] == ["b", "a", "c", "d"]


def test_what_was_asked_and_both_answers_are_shown_as_text(tmp_path):
    def turn(role, content):
        return {"role": role, "content": content}

    folders.predictions(tmp_path, [("a", "chosen", "rejected", -0.2)])
    row = {
        "id": "a",
        "prompt": [turn("user", "two teas"), turn("assistant", "large?"), turn("user", "yes")],
        "chosen": [turn("assistant", "tea x2 large")],
        "rejected": [turn("assistant", "tea x2")],
    }
    (tmp_path / "data").mkdir()
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "data/test.parquet")
    (shown,) = examples(tmp_path, 1, "preference")
    assert shown.inputs == {
        "prompt": "user: two teas\nassistant: large?\nuser: yes",
        "chosen": "tea x2 large",
        "rejected": "tea x2",
    }


def test_a_row_is_shown_with_its_own_input(tmp_path):
    shown = examples(folders.classification(tmp_path / "run"), 3)
    for each in shown:
        row = int(each.id.split(":")[1]) - 1
        assert each.inputs["text"] == f"where is my parcel number {row}"


def test_a_picture_is_a_small_png(tmp_path):
    shown = examples(folders.image_text(tmp_path / "run"), 1)
    kind, data = shown[0].thumbnail.split(",")
    assert kind == "data:image/png;base64"
    assert max(Image.open(io.BytesIO(base64.b64decode(data))).size) <= 128


def test_sound_and_what_is_no_picture_have_no_thumbnail(tmp_path):
    shown = examples(folders.speech(tmp_path / "run"), 4)
    assert [each.thumbnail for each in shown] == [None] * 4
    assert "audio" not in shown[0].inputs


def test_a_conversation_is_shown_turn_by_turn_without_addresses(tmp_path):
    (first, *_) = examples(folders.chat(tmp_path / "run"), 1)
    assert list(first.inputs) == ["user 1"]
    assert "anna@example.org" not in first.inputs["user 1"]


def test_predictions_without_their_rows_are_still_shown(tmp_path):
    folder = folders.classification(tmp_path / "run")
    (folder / "data/test.parquet").unlink()
    assert examples(folder, 2)[0].inputs == {}


def test_a_long_text_is_cut(tmp_path):
    folders.predictions(tmp_path, [("a", "x", "y" * 5000, None)])
    assert len(examples(tmp_path, 1)[0].prediction) == 600
