"""FSDP2 on two ranks by gloo: the training of one process, checkpoints of whole tensors."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from finetune.runs import storage
from finetune.runs.folder import RunFolder
from tests.stages.finished import BERT, GPT, T5, WHISPER, arguments

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "conf" / "accelerate" / "fsdp2.yaml"
STEPS = (
    "train.max_steps=4",
    "train.global_batch_size=7",
    "train.micro_batch_size=2",
    "train.eval_strategy=steps",
    "train.eval_steps=2",
    "train.save_total_limit=9",
    "model.dropout=0.0",
    "evaluate.baselines=false",
    "evaluate.base_model=false",
    "evaluate.max_rows=4",
)


def run_of(folder, tag, *more, ranks=1, config=CONFIG):
    """Run a job to its end, on shards when there are several ranks, and return it."""
    launch = ["launch", "--config_file", str(config)] if ranks > 1 else []
    ended = subprocess.run(
        [sys.executable, "-m", "finetune", *launch, *arguments(tag, folder, *STEPS, *more)],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return RunFolder(folder / "case"), ended.stderr


def weights(run, step):
    (file,) = (run.checkpoints / f"step-{step}").glob("*model.safetensors")
    return load_file(file)


def state(run, step):
    return load_file(run.checkpoints / f"step-{step}" / "optimizer.safetensors")


def series(run, key):
    return [line[key] for line in storage.read_jsonl(run.metrics_log) if key in line]


def back_to(run, step):
    """Make a finished run one that was cut after a step."""
    for entry in run.checkpoints.glob("step-*"):
        if int(entry.name.removeprefix("step-")) > step:
            storage.remove_tree(entry)
    run.forget_stages(["train", "export", "evaluate", "report"])


def assert_alike(one, two):
    """The gradient path is the same to rounding: losses, moments and what is written."""
    for key in ("loss", "grad_norm", "eval_loss"):
        assert series(two, key) == pytest.approx(series(one, key), rel=1e-4), key
    for step in (2, 4):
        assert {k: v.shape for k, v in weights(one, step).items()} == {
            k: v.shape for k, v in weights(two, step).items()
        }
        moments = state(one, step), state(two, step)
        assert set(moments[0]) == set(moments[1])
        for name, value in moments[0].items():
            assert (value.float() - moments[1][name].float()).abs().max() < 1e-4, name


def test_shards_train_an_adapter_as_one_process_does_and_write_it_alone(tmp_path):
    one, _ = run_of(tmp_path / "one", GPT, "strategy=lora")
    two, _ = run_of(tmp_path / "two", GPT, "strategy=lora", ranks=2)
    assert two.manifest()["stages"]["train"]["world_size"] == 2
    assert_alike(one, two)
    written = weights(two, 4)
    assert all("lora_" in name for name in written), "the frozen base is never written"
    share = [float((value != 0).float().mean()) for value in written.values()]
    assert min(share) > 0.9, "no tensor is an empty shard"
    size = sum(file.stat().st_size for file in (two.checkpoints / "step-4").iterdir())
    trained = sum(value.numel() * 4 for value in written.values())
    assert size < 3.2 * trained + 200_000, "weights and two moments, and little else"
    assert not [f for f in two.path.rglob("*") if f.suffix in (".pt", ".pth", ".bin", ".distcp")]


@pytest.mark.slow
@pytest.mark.parametrize("tag", [BERT, T5, WHISPER])
def test_shards_train_the_whole_model_as_one_process_does(tmp_path, tag):
    one, _ = run_of(tmp_path / "one", tag, "strategy=full")
    two, _ = run_of(tmp_path / "two", tag, "strategy=full", ranks=2)
    assert_alike(one, two)


@pytest.mark.slow
def test_shards_go_on_from_shards_bit_by_bit_and_from_one_process_to_rounding(tmp_path):
    two, _ = run_of(tmp_path / "two", GPT, "strategy=lora", ranks=2)
    whole, moments, losses = weights(two, 4), state(two, 4), series(two, "loss")
    back_to(two, 2)
    again, said = run_of(tmp_path / "two", GPT, "strategy=lora", ranks=2)
    assert "going on from step-2" in said
    assert all(bool((whole[k] == v).all()) for k, v in weights(again, 4).items())
    assert all(bool((moments[k] == v).all()) for k, v in state(again, 4).items())
    back_to(two, 2)
    alone, said = run_of(tmp_path / "two", GPT, "strategy=lora")
    assert "going on from step-2" in said
    assert series(alone, "loss") == pytest.approx(losses, rel=1e-4)
    back_to(two, 2)
    shards, _ = run_of(tmp_path / "two", GPT, "strategy=lora", ranks=2)
    assert series(shards, "loss") == pytest.approx(losses, rel=1e-4)


@pytest.mark.slow
def test_a_quantised_base_is_trained_on_shards_too(tmp_path):
    one, _ = run_of(tmp_path / "one", GPT, "strategy=qlora")
    two, _ = run_of(tmp_path / "two", GPT, "strategy=qlora", ranks=2)
    assert_alike(one, two)
