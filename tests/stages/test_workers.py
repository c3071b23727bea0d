"""How many processes make batches: found by measuring, and never changing what is trained."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from finetune.stages import processors, splits, workers
from finetune.stages import train as stage
from finetune.stages.workers import Measured, as_few_as_keep_up
from tests.stages.finished import BERT, CLIP, WHISPER
from tests.training.drive import config_of, log_of, train, weights_of

DECODES = ("train.features_cache=false", "train.max_steps=6", "strategy=lora")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINETUNE_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("making", "training", "cores", "computing", "count"),
    [
        (0.080, 0.010, 16, 1, 8),  # as few as keep up
        (0.080, 0.001, 16, 1, 15),  # as many as are spare
        (0.004, 0.010, 16, 1, 1),
        (0.0004, 0.010, 16, 1, 0),  # nobody would notice
        (0.080, 0.010, 1, 1, 0),  # one core
        (0.009, 0.010, 2, 2, 0),  # all cores compute
        (0.015, 0.010, 2, 2, 2),  # all cores compute, but wait longer than that
        (0.080, 0.010, 2, 2, 2),
        (0.080, 0.010, 8, 4, 4),
    ],
)
def test_there_are_as_few_as_keep_up_and_none_where_no_core_is_spare(
    making: float, training: float, cores: int, computing: int, count: int
) -> None:
    found, because = as_few_as_keep_up(Measured(making, training, cores, computing), 32)
    assert found == count
    assert because.startswith(f"a row is made in {making * 1e3:.3g} ms and trained on in ")


def test_a_step_that_cannot_be_measured_is_taken_to_be_quick_and_it_is_said() -> None:
    found, because = as_few_as_keep_up(Measured(0.010, None, 16, 1), 32)
    assert found == 4  # 320 ms of rows for each 100 ms
    assert because.startswith("a row is made in 10 ms; how long a step takes is not known before")


@pytest.mark.parametrize(
    ("tag", "more", "reason"),
    [
        (BERT, (), "texts are tokenised before training"),
        (BERT, ("data.augment.text.delete=0.4",), "texts are tokenised before training"),
        (CLIP, (), "what is made of all rows stays in memory"),
        (
            CLIP,
            ("strategy=full", "strategy.freeze=[vision_model,visual_projection]"),
            "nothing is decoded: batches carry what is kept of each row",
        ),
    ],
)
def test_there_is_none_where_there_is_nothing_to_decode(
    tag: str, more: tuple[str, ...], reason: str, tmp_path: Path
) -> None:
    _, facts = train(config_of(tag, tmp_path, "train.max_steps=6", *more))
    assert facts["loader_workers"] == 0
    assert facts["loader_workers_because"].startswith(reason)


def slow_to_make(monkeypatch: pytest.MonkeyPatch, cores: int = 2) -> None:
    """Let nothing stay in memory, and rows be slow to make."""
    monkeypatch.setattr(splits, "CACHED_BYTES", 0)
    monkeypatch.setattr(workers, "time_to_train", lambda *_: 1e-6)
    monkeypatch.setattr(processors, "threads", lambda: cores)


@pytest.mark.parametrize("tag", [CLIP, WHISPER])
def test_processes_that_are_chosen_train_the_same_bits(
    tag: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    slow_to_make(monkeypatch)
    run, facts = train(config_of(tag, tmp_path / "auto", *DECODES))
    assert facts["loader_workers"] == 2 - (torch.get_num_threads() == 1)
    assert "beside training: a row is made in " in capsys.readouterr().err
    none = "train.dataloader_num_workers=0"
    alone, said = train(config_of(tag, tmp_path / "one", *DECODES, none))
    assert said["loader_workers"] == 0
    assert said["loader_workers_because"] == none.removesuffix("=0") + " says so"
    assert log_of(run) == log_of(alone)
    assert weights_of(run, 6) == weights_of(alone, 6)


def test_a_run_goes_on_with_another_number_of_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    saves = ("train.save_strategy=steps", "train.save_steps=2", "train.save_total_limit=5")
    whole, _ = train(config_of(CLIP, tmp_path / "whole", *DECODES, *saves))
    cut, _ = train(config_of(CLIP, tmp_path / "cut", *DECODES, *saves))
    for step in (4, 6):
        shutil.rmtree(cut.checkpoints / f"step-{step}")
    slow_to_make(monkeypatch)
    cut, facts = train(config_of(CLIP, tmp_path / "cut", *DECODES, *saves))
    assert facts["loader_workers"] > 0
    assert weights_of(cut, 6) == weights_of(whole, 6)


def test_pictures_that_are_changed_each_time_are_made_by_processes_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = ("data.augment.pictures.flip=true", "train.max_steps=3", "strategy=lora")
    alone, _ = train(config_of(CLIP, tmp_path / "one", *changes, "train.dataloader_num_workers=0"))
    slow_to_make(monkeypatch)
    run, facts = train(config_of(CLIP, tmp_path / "auto", *changes))
    assert facts["loader_workers"] > 0
    assert log_of(run) == log_of(alone)


@pytest.mark.parametrize(("place", "value"), [("room", 1000), ("start", "spawn")])
def test_there_is_none_where_processes_have_no_room_or_start_anew(
    place: str, value: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_to_make(monkeypatch)
    if place == "room":
        usage = SimpleNamespace(free=value)
        monkeypatch.setattr(workers.shutil, "disk_usage", lambda _: usage)
    else:
        monkeypatch.setattr(workers.multiprocessing, "get_start_method", lambda: value)
    _, facts = train(config_of(CLIP, tmp_path, *DECODES))
    assert facts["loader_workers"] == 0
    words = "has no room for more than 0" if place == "room" else "starts processes anew"
    assert words in facts["loader_workers_because"]


def test_measuring_a_step_leaves_weights_gradients_randomness_and_statistics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    measure = workers.time_to_train

    def watched(trainer: Any, features: Any) -> float | None:
        model = trainer.model.train()
        model.add_module("extra", torch.nn.BatchNorm1d(2))
        before = {name: value.clone() for name, value in model.state_dict().items()}
        state = torch.get_rng_state()
        taken = measure(trainer, features)
        after = model.state_dict()
        seen.append(all(torch.equal(after[name], value) for name, value in before.items()))
        seen.append(all(part.grad is None for part in model.parameters()))
        seen.append(torch.equal(torch.get_rng_state(), state) and model.training)
        seen.append(taken is not None and taken > 0)
        del model.extra
        return taken

    monkeypatch.setattr(workers, "time_to_train", watched)
    monkeypatch.setattr(splits, "CACHED_BYTES", 0)
    train(config_of(CLIP, tmp_path, *DECODES, "model.dropout=0.1"))
    assert seen == [True] * 4


def test_rows_that_take_long_to_make_are_few_to_be_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []
    clock = [0.0]

    def fetch(numbers: list[int], visits: Any) -> list[dict[str, int]]:
        asked.extend(numbers)
        clock[0] += slow
        return [{}]

    class Rows(list[int]):
        pass

    rows = Rows(range(60))
    rows.fetch = fetch  # type: ignore[attr-defined]
    monkeypatch.setattr(workers.time, "perf_counter", lambda: clock[0])
    for slow, count in ((0.8, 2), (0.01, workers.TIMED + 1)):
        asked.clear()
        taken, made = workers.time_to_make(SimpleNamespace(train_rows=rows))  # type: ignore[arg-type]
        assert taken == pytest.approx(slow)
        assert len(made) == len(asked) == count


def test_memory_that_runs_out_while_measuring_leaves_it_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from finetune.training import towers

    made: list[Any] = []
    make = stage.make_trainer

    def noted(*rest: Any, **options: Any) -> Any:
        made.append(make(*rest, **options))
        return made[0]

    monkeypatch.setattr(stage, "make_trainer", noted)
    train(config_of(CLIP, tmp_path, *DECODES))

    def full(*rest: Any) -> Any:
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(towers, "outcome", full)
    _, features = workers.time_to_make(made[0])
    assert workers.time_to_train(made[0], features) is None
