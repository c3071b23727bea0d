"""The frozen part computed once per row: the same run, or the reason why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from finetune.runs.folder import RunFolder
from finetune.stages import frozen_parts, keeping
from tests.stages.finished import BERT, CLIP, GPT, T5, WHISPER
from tests.training.drive import config_of, log_of, train, weights_of

FREEZE = {CLIP: "vision_model,visual_projection", WHISPER: "encoder"}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FINETUNE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "frozen"


def trained(tag: str, folder: Path, *more: str) -> tuple[RunFolder, dict[str, Any]]:
    """Train with a frozen tower; return the run and the facts of the stage."""
    freeze = ("strategy=full", f"strategy.freeze=[{FREEZE[tag]}]") if tag in FREEZE else ()
    return train(config_of(tag, folder, "train.max_steps=6", *freeze, *more))


@pytest.mark.parametrize(("tag", "at_once"), [(CLIP, 16), (WHISPER, 16), (WHISPER, 4)])
def test_a_run_is_the_same_to_the_bit_with_it_and_without(
    tag: str,
    at_once: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    places = 64  # of a recording in the minute Whisper
    monkeypatch.setattr(frozen_parts, "CPU_PLACES", places * at_once)
    run, facts = trained(tag, tmp_path / "with")
    assert facts["frozen_part"]["bytes"] > 0
    assert "computed once per row" in capsys.readouterr().err
    plain, without = trained(tag, tmp_path / "without", "train.frozen_cache=false")
    assert without["frozen_because"] == "train.frozen_cache is false"
    assert log_of(run) == log_of(plain)
    assert weights_of(run, 6)["model.safetensors"] == weights_of(plain, 6)["model.safetensors"]


TOP = {
    GPT: (
        ("strategy=lora", "strategy.layers_to_transform=[2]"),
        "base_model.model.model.layers[:2]",
    ),
    T5: (("strategy=full", "strategy.freeze=[encoder]"), "encoder.block[:2]"),
}


@pytest.mark.parametrize("tag", TOP)
def test_layers_below_what_is_trained_run_once_per_row(tag: str, tmp_path: Path) -> None:
    more, name = TOP[tag]
    run, facts = trained(tag, tmp_path / "with", *more)
    assert facts["frozen_part"] is not None, facts["frozen_because"]
    assert facts["frozen_part"]["module"] == name
    plain, _ = trained(tag, tmp_path / "without", *more, "train.frozen_cache=false")
    for one, other in zip(log_of(run), log_of(plain), strict=True):
        for key in {"loss", "eval_loss"} & set(one):
            assert one[key] == pytest.approx(other[key], rel=1e-5)


def test_a_second_run_computes_nothing_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = trained(CLIP, tmp_path / "first")
    monkeypatch.setattr(keeping, "blocks", None)  # whoever computes anew fails
    second, facts = trained(CLIP, tmp_path / "second")
    assert facts["frozen_part"] is not None
    assert log_of(second) == log_of(first)


def test_a_damaged_entry_is_made_anew(tmp_path: Path, place: Path) -> None:
    first, _ = trained(CLIP, tmp_path / "first")
    for file in place.glob("*/values.bin"):
        file.write_bytes(bytes(len(file.read_bytes())))
    second, _ = trained(CLIP, tmp_path / "second")
    assert log_of(second) == log_of(first)


@pytest.mark.parametrize(
    ("tag", "more", "reason"),
    [
        (CLIP, ("train.max_steps=1",), "each row is met about once"),
        (CLIP, ("train.frozen_cache_gb=0",), "train.frozen_cache_gb is 0"),
        (CLIP, ("train.frozen_cache_gb=1e-6",), "it would take"),
        (
            CLIP,
            ("data.augment.pictures.flip=true",),
            "rows are changed each time that they are met",
        ),
        (BERT, (), "its first layer is trained"),
    ],
)
def test_the_reason_against_it_is_written_down(
    tag: str, more: tuple[str, ...], reason: str, tmp_path: Path
) -> None:
    _, facts = trained(tag, tmp_path, *more)
    assert facts["frozen_part"] is None
    assert facts["frozen_because"].startswith(reason)


def test_other_weights_are_another_entry() -> None:
    import torch

    module = torch.nn.Linear(3, 3)
    before = frozen_parts.weights_hash([module])
    assert before == frozen_parts.weights_hash([module])
    with torch.no_grad():
        module.weight[0, 0] += 1e-3
    assert frozen_parts.weights_hash([module]) != before


def test_without_a_place_to_keep_it_a_run_computes_it_each_time_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("FINETUNE_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(keeping, "budget", lambda _: 0)  # as in /proc, where nothing is free either
    run, facts = trained(CLIP, tmp_path / "run")
    assert facts["frozen_because"].startswith("nothing can be written to ")
    said = capsys.readouterr().err
    assert f"what is frozen is computed each time: {facts['frozen_because']}" in said
    assert any("loss" in line for line in log_of(run))


def test_where_the_limit_just_holds_it_all_nothing_of_it_is_deleted(tmp_path: Path) -> None:
    more = TOP[GPT][0]
    _, facts = trained(GPT, tmp_path / "first", *more)
    size = facts["frozen_part"]["bytes"]
    other = ("seed=1", f"train.frozen_cache_gb={size * 1.4 / 1e9:.9f}")
    _, facts = trained(GPT, tmp_path / "second", *more, *other)
    assert facts["frozen_part"] is not None, facts["frozen_because"]


def test_what_a_pair_of_texts_takes_is_estimated_as_two(tmp_path: Path, place: Path) -> None:
    pairs = ("strategy=lora", "strategy.layers_to_transform=[2]")
    _, facts = trained("preference", tmp_path / "run", *pairs)
    size = facts["frozen_part"]["bytes"]
    less = f"train.frozen_cache_gb={size * 0.8 / 1e9:.9f}"
    _, facts = trained("preference", tmp_path / "less", *pairs, less)
    assert facts["frozen_part"] is None
    assert "may be taken" in facts["frozen_because"]
