"""The dates and shapes samples and their bases, t5 and clip, are what their descriptions claim."""

from __future__ import annotations

import csv
import importlib.util
import io
import random
from collections import Counter
from datetime import date
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from PIL import Image
from transformers import (
    AutoModel,
    AutoModelForSeq2SeqLM,
    AutoProcessor,
    AutoTokenizer,
)

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "finetune/data/samples"
TINY = ROOT / "finetune/models/tiny"


def module(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"sample_{Path(path).stem}", ROOT / path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


dates = module("scripts/samples/dates.py")
shapes = module("scripts/samples/shapes.py")
t5_material = module("scripts/pretrain/t5.py")
clip_material = module("scripts/pretrain/clip.py")


@pytest.fixture(scope="module")
def date_rows():
    with (SAMPLES / "dates/dates.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def shape_rows():
    return pq.read_table(SAMPLES / "shapes/shapes.parquet").to_pylist()


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.mark.parametrize("name", ["dates", "shapes"])
def test_the_configuration_names_columns_that_are_in_the_file(name, date_rows, shape_rows):
    columns = set({"dates": date_rows, "shapes": shape_rows}[name][0])
    text = (ROOT / f"conf/data/sample/{name}.yaml").read_text(encoding="utf-8")
    config = yaml.safe_load(text)
    assert text.startswith("# ")
    assert config["path"] == f"package:finetune/data/samples/{name}"
    assert set(config["columns"].values()) | set(config["slices"]) == columns


def test_there_are_1200_dates_and_no_source_occurs_twice(date_rows):
    assert len(date_rows) == len({row["source"] for row in date_rows}) == 1200


def test_every_target_is_an_iso_date_and_every_style_has_its_share(date_rows):
    assert all(date.fromisoformat(row["target"]).isoformat() == row["target"] for row in date_rows)
    assert Counter(row["style"] for row in date_rows) == dates.ROWS


def test_no_date_is_written_with_a_numeric_day(date_rows):
    assert not [row for row in date_rows if row["target"][-2:].lstrip("0") in row["source"].split()]


@pytest.mark.parametrize(
    ("template", "iso", "expected"),
    [
        ("the {day} of {month} {year}", "1998-03-03", "the third of march 1998"),
        ("{month} {day} {year_in_words}", "1921-12-30", "december thirtieth nineteen twenty-one"),
        ("{month} {day} {year_in_words}", "2005-05-21", "may twenty-first two thousand and five"),
        ("{day} {month} {year_in_words}", "2000-01-20", "twentieth january two thousand"),
        ("{day} {month} {year_in_words}", "1900-01-10", "tenth january nineteen hundred"),
        ("{day} {month} {year_in_words}", "1907-01-31", "thirty-first january nineteen oh seven"),
        ("day before {day} {month} {year}", "1996-02-29", "day before first march 1996"),
        ("day after {day} {month} {year}", "1997-01-01", "day after thirty-first december 1996"),
    ],
)  # fmt: skip
def test_a_date_is_spelt_out_as_people_say_it(template, iso, expected):
    assert dates.phrase(template, date.fromisoformat(iso)) == expected


def test_the_generator_reproduces_the_dates_byte_for_byte(tmp_path):
    dates.main(tmp_path)
    made = (tmp_path / "dates.csv").read_bytes()
    assert made == (SAMPLES / "dates/dates.csv").read_bytes()


def test_there_are_1000_pictures_and_none_occurs_twice(shape_rows):
    assert len(shape_rows) == 1000
    assert len({pixels(row["image"]["bytes"]).tobytes() for row in shape_rows}) == 1000
    assert len({row["image"]["path"] for row in shape_rows}) == 1000


def test_pictures_are_png_of_48_by_48_rgb_pixels(shape_rows):
    for row in shape_rows:
        picture = Image.open(io.BytesIO(row["image"]["bytes"]))
        assert (picture.format, picture.size, picture.mode) == ("PNG", (48, 48), "RGB")


def test_nearly_every_caption_is_another_so_that_retrieval_means_something(shape_rows):
    assert len({row["text"] for row in shape_rows}) >= 950


def test_the_three_backgrounds_are_about_as_frequent(shape_rows):
    counts = Counter(row["background"] for row in shape_rows)
    assert set(counts) == set(shapes.BACKGROUNDS)
    assert min(counts.values()) > 280


def test_the_captions_tell_the_truth_about_colour_and_place(shape_rows):
    for row in shape_rows[::20]:
        picture = pixels(row["image"]["bytes"]).astype(float)
        words = row["text"].split()
        first, second = (word for word in words if word in shapes.COLOURS)
        found = []
        for colour in (first, second):
            distance = abs(picture - shapes.COLOURS[colour]).max(axis=-1)
            rows, columns = np.nonzero(distance < 22)
            found.append((columns.mean(), rows.mean()))
        relation = next(name for name in shapes.RELATIONS if f" {name} " in row["text"])
        offset = np.subtract(found[0], found[1]) @ np.array(shapes.RELATIONS[relation])
        assert offset > 8, row["text"]


def test_the_generator_reproduces_the_pictures_pixel_by_pixel(shape_rows):
    # Pixels and not bytes: another version of zlib may pack the same PNG otherwise.
    for index in range(0, 1000, 10):
        made, kept = shapes.row(index), shape_rows[index]
        assert (made["text"], made["background"]) == (kept["text"], kept["background"])
        assert (pixels(made["image"]["bytes"]) == pixels(kept["image"]["bytes"])).all()


@pytest.fixture(scope="module")
def t5():
    return AutoModelForSeq2SeqLM.from_pretrained(TINY / "t5").eval()


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(TINY / "t5")


@pytest.fixture(scope="module")
def clip():
    return AutoModel.from_pretrained(TINY / "clip").eval()


@pytest.fixture(scope="module")
def processor():
    return AutoProcessor.from_pretrained(TINY / "clip")


@pytest.mark.parametrize("name", ["t5", "clip"])
def test_a_base_is_at_most_three_megabytes_with_a_card_and_a_configuration(name):
    assert sum(file.stat().st_size for file in (TINY / name).iterdir()) <= 3_000_000
    assert "license: apache-2.0" in (TINY / name / "README.md").read_text(encoding="utf-8")
    text = (ROOT / f"conf/model/tiny/{name}.yaml").read_text(encoding="utf-8")
    config = yaml.safe_load(text)
    assert text.startswith("# ")
    assert config["name_or_path"] == f"package:finetune/models/tiny/{name}"


@pytest.mark.parametrize("name", ["t5", "clip"])
def test_linear_layers_fit_blocks_of_nf4_and_nothing_is_dropped_out(name, request):
    for path, layer in request.getfixturevalue(name).named_modules():
        if isinstance(layer, torch.nn.Linear) and path != "lm_head":
            assert layer.in_features % 64 == layer.out_features % 64 == 0, path
        if isinstance(layer, torch.nn.Dropout):
            assert layer.p == 0.0
        assert getattr(layer, "dropout", 0.0) in (0.0, None) or isinstance(
            layer.dropout, torch.nn.Dropout
        )


@pytest.mark.parametrize(
    "text", ["the third of march 1998", "Grüße, 東京, 3 € 😀", "  two  spaces"]
)
def test_every_text_survives_the_t5_tokenizer(tokenizer, text):
    ids = tokenizer(text).input_ids
    assert ids[-1] == tokenizer.eos_token_id
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_t5_has_learnt_its_related_formats(t5, tokenizer):
    rows = t5_material.pairs(random.Random(99), 64)
    with torch.no_grad():
        loss = t5(**t5_material.batch(tokenizer, rows)).loss.item()
    assert loss < 0.5  # chance is ln 259 = 5.6


def test_t5_answers_an_american_date_and_stops(t5, tokenizer):
    ids = tokenizer("march 3, 1998", return_tensors="pt").input_ids
    answer = tokenizer.decode(t5.generate(ids)[0])
    assert answer == "<pad>1998-03-03</s>"


def test_the_t5_base_has_not_seen_the_sample(date_rows):
    seen = {source for source, _ in t5_material.pairs(random.Random(1), 20_000)}
    assert not seen & {row["source"] for row in date_rows}
    assert not [source for source in seen if "third" in source or " of " in source]


def test_clip_has_learnt_its_related_pictures(clip, processor):
    pictures, captions = clip_material.drawings(np.random.default_rng(99), 64)
    with torch.no_grad():
        out = clip(**clip_material.batch(processor, pictures, captions), return_loss=True)
    assert out.loss.item() < 1.5  # chance is ln 64 = 4.2


def test_clip_pools_a_text_at_its_end_whatever_the_padding(clip, processor):
    assert clip.config.text_config.eos_token_id == processor.tokenizer.eos_token_id != 2
    short, long = "a red circle", "a tiny red circle above a big green square with a smile"
    with torch.no_grad():
        alone = clip.get_text_features(**processor(text=[short], return_tensors="pt"))
        padded = clip.get_text_features(
            **processor(text=[short, long], padding=True, return_tensors="pt")
        )
    torch.testing.assert_close(alone.pooler_output[0], padded.pooler_output[0])
    assert (padded.pooler_output[0] - padded.pooler_output[1]).abs().max() > 0.1


def test_clip_reads_any_picture_through_pillow(processor):
    pictures = [Image.new("L", (100, 30), 200), Image.new("RGBA", (20, 64), (255, 0, 0, 255))]
    pixel_values = processor(images=pictures, return_tensors="pt").pixel_values
    assert pixel_values.shape == (2, 3, 48, 48)


def test_the_clip_base_has_not_seen_the_sample(shape_rows):
    _, captions = clip_material.drawings(np.random.default_rng(1), 500)
    assert not set(captions) & {row["text"] for row in shape_rows}
    words = {word for caption in captions for word in caption.split()}
    assert not words & {"small", "large", "blue", "yellow", "ring", "triangle", "left", "below"}
