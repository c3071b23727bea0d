"""Pictures and sound decoded once per row: the same run to the bit, or the reason why not."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from finetune.errors import StorageError
from finetune.runs.folder import RunFolder
from finetune.stages import base_model, features, keeping, splits
from finetune.training.rows import Rows
from tests.contracts.cases import RECIPES
from tests.faults import harness
from tests.stages.finished import BERT, CLIP, WHISPER
from tests.training.drive import config_of, log_of, train, weights_of

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep entries apart, and think even minute pictures worth it."""
    monkeypatch.setenv("FINETUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(features, "LEAST", 0.0)
    return tmp_path / "cache" / "frozen"


def trained(tag: str, folder: Path, *more: str) -> tuple[RunFolder, dict[str, Any]]:
    return train(config_of(tag, folder, "train.max_steps=8", "strategy=lora", *more))


def same(one: RunFolder, other: RunFolder, step: int = 8) -> bool:
    """Tell whether losses and weights are equal to the bit."""
    return log_of(one) == log_of(other) and weights_of(one, step) == weights_of(other, step)


def undecodable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing be decoded but by `FeaturesPart.find` and the look at the first row."""
    monkeypatch.setattr(keeping, "blocks", None)


@pytest.mark.parametrize("tag", [CLIP, WHISPER])
def test_a_run_is_the_same_to_the_bit_with_it_without_and_from_what_an_earlier_one_kept(
    tag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluates = ("train.eval_strategy=steps", "train.eval_steps=4")
    run, facts = trained(tag, tmp_path / "with", *evaluates)
    assert facts["features_kept"]["bytes"] > 0
    assert facts["features_because"] is None
    assert facts["loader_workers"] == 0
    assert "is made once, not in each epoch" in capsys.readouterr().err
    plain, without = trained(tag, tmp_path / "without", *evaluates, "train.features_cache=false")
    assert without["features_because"] == "train.features_cache is false"
    assert same(run, plain)
    undecodable(monkeypatch)
    again, facts = trained(tag, tmp_path / "again", *evaluates)
    assert facts["features_kept"] is not None
    assert same(again, plain)


def test_no_picture_is_decoded_while_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from finetune.data import media

    trained(CLIP, tmp_path / "first")
    seen: list[int] = []
    decode = media.decode_image
    monkeypatch.setattr(media, "decode_image", lambda *a, **k: seen.append(1) or decode(*a, **k))
    run, _ = trained(CLIP, tmp_path / "second")
    # a few are looked at before: measured, compared, tried on a frozen tower
    assert 2 * len(seen) < len(splits.read(run, "train"))


def test_a_run_that_goes_on_gives_the_same_bits_whether_the_entry_is_there_or_not(
    tmp_path: Path, place: Path
) -> None:
    saves = ("train.save_strategy=steps", "train.save_steps=3", "train.save_total_limit=5")
    whole, _ = trained(CLIP, tmp_path / "whole", *saves)
    for name in ("there", "gone"):
        cut, _ = trained(CLIP, tmp_path / name, *saves)
        for step in (6, 8):
            shutil.rmtree(cut.checkpoints / f"step-{step}")
        if name == "gone":
            shutil.rmtree(place)
        cut, facts = trained(CLIP, tmp_path / name, *saves)
        assert facts["features_kept"] is not None
        assert weights_of(cut, 8) == weights_of(whole, 8)


def test_a_damaged_entry_is_made_anew(tmp_path: Path, place: Path) -> None:
    first, _ = trained(CLIP, tmp_path / "first")
    for file in place.glob("*/values.bin"):
        content = bytearray(file.read_bytes())
        content[-2] ^= 64  # of the last row, at which nobody looks again
        file.write_bytes(content)
    second, facts = trained(CLIP, tmp_path / "second")
    assert facts["features_kept"] is not None
    assert same(second, first)


def mirrored(run: RunFolder) -> None:
    """Give every picture but the first another content under the same name."""
    from PIL import Image, ImageOps

    def other(row: dict[str, Any], number: int) -> dict[str, Any]:
        if number == 0:
            return row
        data = io.BytesIO()
        picture = Image.open(io.BytesIO(row["image"]["bytes"])).convert("RGB")
        ImageOps.invert(picture).save(data, "PNG")
        return {**row, "image": {**row["image"], "bytes": data.getvalue()}}

    changed = {
        split: splits.read(run, split).map(other, with_indices=True)
        for split in ("train", "validation")
    }
    splits.write(run, changed)


def test_another_picture_under_the_same_name_never_gets_the_features_of_the_first(
    tmp_path: Path,
) -> None:
    first, _ = trained(CLIP, tmp_path / "first")
    runs = []
    for name, more in (("with", ()), ("without", ("train.features_cache=false",))):
        config = config_of(CLIP, tmp_path / name)
        mirrored(RunFolder(Path(config.run.dir) / config.name))
        runs.append(trained(CLIP, tmp_path / name, *more))
    (changed, facts), (plain, _) = runs
    assert facts["features_kept"] is not None
    assert same(changed, plain)
    assert log_of(changed) != log_of(first)


@pytest.mark.parametrize(
    ("tag", "part", "setting", "value"),
    [
        (CLIP, "image_processor", "image_mean", [0.1, 0.2, 0.3]),
        (CLIP, "image_processor", "resample", 0),
        (WHISPER, "feature_extractor", "hop_length", 80),
        (WHISPER, "feature_extractor", "dither", 0.5),
    ],
)
def test_another_setting_of_the_processor_is_another_entry(
    tag: str, part: str, setting: str, value: Any, tmp_path: Path
) -> None:
    config = config_of(tag, tmp_path)
    run = RunFolder(Path(config.run.dir) / config.name)
    trainer: Any = SimpleNamespace(task=config.task)
    config.task.load_processor(base_model.resolve(config).folder)
    made = features.FeaturesPart(trainer, "x", torch.zeros(1), 1.0, "")
    before = keeping.key_of(run, trainer, made, "train", 5)
    assert keeping.key_of(run, trainer, made, "train", 5) == before
    assert hasattr(getattr(config.task.processor, part), setting)
    setattr(getattr(config.task.processor, part), setting, value)
    assert keeping.key_of(run, trainer, made, "train", 5) != before


def test_code_that_prepares_rows_otherwise_makes_them_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained(CLIP, tmp_path / "first")
    from finetune.tasks.zero_shot_image_classification import ZeroShotImageClassification

    pixels = ZeroShotImageClassification.pixels
    monkeypatch.setattr(
        ZeroShotImageClassification, "pixels", lambda self, images: pixels(self, images) * 1.0001
    )
    changed, _ = trained(CLIP, tmp_path / "changed")
    plain, _ = trained(CLIP, tmp_path / "plain", "train.features_cache=false")
    assert same(changed, plain)


@pytest.mark.parametrize(
    ("tag", "more", "reason"),
    [
        (CLIP, ("train.max_steps=1",), "each row is met about once"),
        (CLIP, ("train.frozen_cache_gb=0",), "train.frozen_cache_gb is 0"),
        (CLIP, ("data.augment.pictures.flip=true",), "rows are changed each time"),
        (
            CLIP,
            ("strategy=full", "strategy.freeze=[vision_model,visual_projection]"),
            "what the frozen part makes of them is kept instead",
        ),
        (BERT, (), "texts are tokenised before training"),
    ],
)
def test_the_reason_against_it_is_written_down(
    tag: str, more: tuple[str, ...], reason: str, tmp_path: Path
) -> None:
    _, facts = train(config_of(tag, tmp_path, "train.max_steps=8", *more))
    assert facts["features_kept"] is None
    assert facts["features_because"].startswith(reason)


def test_it_is_not_done_where_it_would_not_pay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "LEAST", 1e3)
    _, facts = trained(CLIP, tmp_path / "few")
    assert facts["features_because"].startswith("all rows are made in ")
    monkeypatch.setattr(features, "LEAST", 0.0)
    monkeypatch.setattr(features, "time_to_read", lambda *_: 1.0)
    _, facts = trained(CLIP, tmp_path / "slow")
    assert facts["features_because"].endswith("and read in 1e+03 ms")


def test_a_disk_that_is_full_from_the_start_or_later_never_stops_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from finetune.training import kept

    plain, _ = trained(CLIP, tmp_path / "plain", "train.features_cache=false")
    write = kept.write

    def full_at(entry: Path, *rest: Any, **options: Any) -> Any:
        if entry.name.startswith("trial") == early:
            raise StorageError("The disk is full.", fix="")
        return write(entry, *rest, **options)

    monkeypatch.setattr(kept, "write", full_at)
    for early in (True, False):
        run, facts = trained(CLIP, tmp_path / str(early))
        assert facts["features_because"].startswith("nothing can be written to ")
        assert same(run, plain)


def test_reading_is_measured_without_leaving_anything(place: Path) -> None:
    assert features.time_to_read([torch.zeros(3, 50, 50)] * 3) > 0
    assert list(place.iterdir()) == []


def test_only_what_comes_of_media_alone_and_is_one_input_is_kept() -> None:
    rest = [{"ids": [1, 2]}, {"ids": [3]}]
    made = [{**item, "pixels": np.ones(2)} for item in rest]
    assert features.only_key(made, rest) == "pixels"
    assert features.only_key([{**item, "mask": 1} for item in made], rest) is None
    assert features.only_key([{**item, "ids": [7]} for item in made], rest) is None
    assert features.only_key(rest, rest) is None


def test_what_cannot_be_kept_to_the_bit_is_not() -> None:
    assert isinstance(features.tensor(np.zeros(2, dtype=np.float32)), torch.Tensor)
    assert features.tensor(np.zeros(2, dtype=np.complex64)) == (
        "they become numbers of the type torch.complex64"
    )
    assert features.tensor("x") == "they become what is no array of numbers"


def test_rows_that_are_measured_are_spread_over_the_split() -> None:
    assert features.spread(100, 4) == [0, 25, 50, 75]
    assert features.spread(3, 6) == [0, 1, 2]


class Halves:
    """Makes of a row its number, from several threads."""

    lazy = True

    def encode(self, rows: Any) -> list[dict[str, Any]]:
        return [{"x": np.full(2, row["n"] / 2)} for row in rows]


def test_several_at_once_give_the_rows_in_their_order() -> None:
    from datasets import Dataset

    trainer: Any = SimpleNamespace(
        task=Halves(), args=SimpleNamespace(world_size=1, process_index=0)
    )
    raw = Dataset.from_list([{"n": n} for n in range(70)])
    rows: Any = Rows(ids=raw["n"], raw=raw, lengths=[], fetch=None)
    part = features.FeaturesPart(trainer, "x", torch.zeros(2), 1.0, "")
    part.threads = 3
    blocks = [range(start, min(start + 16, 70)) for start in range(0, 80, 16)]
    made = [float(row[0]) for block in part.series(rows, blocks) for _, row in block]
    assert made == [n / 2 for n in range(70)]


STARTER = """
import json, sys
from finetune.stages import features
features.LEAST = 0.0
from finetune.cli import main
raise SystemExit(main())
"""


@pytest.mark.slow
def test_two_ranks_train_the_same_bits_with_it_and_without(tmp_path: Path, place: Path) -> None:
    recipe, model = RECIPES[CLIP]
    (tmp_path / "start.py").write_text(STARTER)
    runs = []
    for name, cache in (("with", "true"), ("without", "false")):
        command = [
            sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu",
            "--num_processes", "2", "--mixed_precision", "no", "--dynamo_backend", "no",
            "--num_machines", "1", "--main_process_port", str(harness.free_port()),
            str(tmp_path / "start.py"),
            f"recipe={recipe}", f"model={model}", f"run.dir={tmp_path}", f"name={name}",
            "data.max_rows=40", "tracking.report_to=[]", "train.max_steps=8", "strategy=lora",
            "train.global_batch_size=8", "train.eval_max_rows=4", f"train.features_cache={cache}",
        ]  # fmt: skip
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        ended = subprocess.run(
            command, env=environment, cwd=ROOT, text=True, capture_output=True, timeout=300,
            check=False,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
        runs.append(RunFolder(tmp_path / name))
    with_it, without = runs
    manifest = json.loads((with_it.path / "manifest.json").read_text())
    assert manifest["stages"]["train"]["features_kept"]["bytes"] > 0
    assert manifest["stages"]["train"]["world_size"] == 2
    assert log_of(with_it) == log_of(without)
    one, other = (
        (run.checkpoints / "step-8" / "adapter_model.safetensors").read_bytes() for run in runs
    )
    assert one == other
