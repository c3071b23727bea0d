"""Examples: mistakes first, inputs beside them, personal data hidden."""

from __future__ import annotations

import base64
import io

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
