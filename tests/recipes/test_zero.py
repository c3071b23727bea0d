"""DeepSpeed's ZeRO on two ranks by gloo: the training of one process, checkpoints of whole tensors.

`scripts/test_deepspeed.sh` runs this with DeepSpeed beside our own dependencies.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file, save_file

from finetune.config.places import shipped
from finetune.runs import storage
from tests.recipes.test_shards import (
    ROOT,
    STEPS,
    assert_alike,
    back_to,
    run_of,
    series,
    state,
    weights,
)
from tests.stages.finished import BERT, GPT, T5, WHISPER, arguments

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("deepspeed") is None,
        reason="DeepSpeed is not installed; scripts/test_deepspeed.sh installs it",
    ),
]
STAGES = (2, 3)


@functools.cache
def one_process(tag, *more):
    """Return a finished run of one process, to compare with."""
    folder = Path(tempfile.mkdtemp(prefix="finetune-zero-"))
    try:
        return run_of(folder, tag, *more)[0]
    except BaseException:
        shutil.rmtree(folder)
        raise


def settings(folder, stage, **more):
    """Write accelerate's file for a stage, which cuts weights however small they are."""
    folder.mkdir(parents=True, exist_ok=True)
    shipped_one = shipped("conf") / "accelerate" / f"zero{stage}.yaml"
    values = yaml.safe_load(shipped_one.read_text(encoding="utf-8"))
    if stage == 3 or more:
        zero = {"stage": stage, "stage3_param_persistence_threshold": 0, **more}
        file = folder / "deepspeed.json"
        file.write_text(json.dumps({"zero_optimization": zero}), encoding="utf-8")
        values["deepspeed_config"] = {"deepspeed_config_file": str(file), "zero3_init_flag": False}
    (folder / "zero.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    return folder / "zero.yaml"


def shared_out(folder, stage, tag, *more):
    """Run a job on two ranks under ZeRO to its end."""
    return run_of(folder / "two", tag, *more, ranks=2, config=settings(folder, stage))


def refused(folder, tag, *more, config):
    """Run a job that is to fail, and return its exit code and what it said."""
    ended = subprocess.run(
        [sys.executable, "-m", "finetune", "launch", "--config_file", str(config),
         *arguments(tag, folder / "two", *STEPS, *more)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return ended.returncode, ended.stderr


@pytest.mark.parametrize("stage", STAGES)
def test_the_whole_model_is_trained_as_by_one_process_and_plain_transformers_loads_it(
    tmp_path, stage
):
    from transformers import AutoModelForSequenceClassification

    two, _ = shared_out(tmp_path, stage, BERT, "strategy=full")
    facts = two.manifest()["stages"]["train"]
    assert facts["world_size"] == 2
    one = one_process(BERT, "strategy=full")
    assert_alike(one, two)
    for key in ("trainable_parameters", "total_parameters"):
        assert facts[key] == one.manifest()["stages"]["train"][key] > 0
    merged = AutoModelForSequenceClassification.from_pretrained(two.path / "merged")
    written = weights(two, int(facts["kept"].removeprefix("step-")))
    assert all(bool((written[name] == v).all()) for name, v in merged.named_parameters())
    assert not [f for f in two.path.rglob("*") if f.suffix in (".pt", ".pth", ".bin")]


@pytest.mark.parametrize("stage", STAGES)
def test_an_adapter_is_written_alone_and_goes_on_bit_by_bit(tmp_path, stage):
    one = one_process(GPT, "strategy=lora")
    two, _ = shared_out(tmp_path, stage, GPT, "strategy=lora")
    assert_alike(one, two)
    whole, moments, losses = weights(two, 4), state(two, 4), series(two, "loss")
    assert all("lora_" in name for name in whole), "the frozen base is never written"
    size = sum(file.stat().st_size for file in (two.checkpoints / "step-4").iterdir())
    assert size < 3.2 * sum(value.numel() * 4 for value in whole.values()) + 200_000

    back_to(two, 2)
    again, said = shared_out(tmp_path, stage, GPT, "strategy=lora")
    assert "going on from step-2" in said
    assert series(again, "loss") == losses
    assert all(bool((whole[k] == v).all()) for k, v in weights(again, 4).items())
    assert all(bool((moments[k] == v).all()) for k, v in state(again, 4).items())

    back_to(two, 2)
    alone, said = run_of(tmp_path / "two", GPT, "strategy=lora")
    assert "going on from step-2" in said
    assert series(alone, "loss") == pytest.approx(losses, rel=1e-4)
    back_to(two, 2)
    _, said = shared_out(tmp_path, stage, GPT, "strategy=lora")
    assert "going on from step-2" in said
    assert series(two, "loss") == pytest.approx(losses, rel=1e-4)


@pytest.mark.parametrize("stage", STAGES)
def test_the_whole_model_goes_on_bit_by_bit(tmp_path, stage):
    two, _ = shared_out(tmp_path, stage, BERT, "strategy=full")
    whole, moments, losses = weights(two, 4), state(two, 4), series(two, "loss")
    back_to(two, 2)
    _, said = shared_out(tmp_path, stage, BERT, "strategy=full")
    assert "going on from step-2" in said
    assert series(two, "loss") == losses
    assert all(bool((whole[k] == v).all()) for k, v in weights(two, 4).items())
    assert all(bool((moments[k] == v).all()) for k, v in state(two, 4).items())


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    ("tag", "more"),
    [
        (T5, ("strategy=full",)),  # three modules share one weight
        (GPT, ("strategy=qlora",)),
        (WHISPER, ("strategy=full",)),
        (GPT, ("strategy=lora", "train.gradient_checkpointing=true", "train.max_grad_norm=0")),
    ],
)
def test_every_other_way_is_that_of_one_process_too(tmp_path, stage, tag, more):
    two, _ = shared_out(tmp_path, stage, tag, *more)
    assert_alike(one_process(tag, *more), two)


@pytest.mark.parametrize("stage", STAGES)
def test_bf16_computes_as_in_one_process_and_keeps_weights_in_full(tmp_path, stage):
    more = ("strategy=lora", "train.precision=bf16")
    one, (two, _) = one_process(GPT, *more), shared_out(tmp_path, stage, GPT, *more)
    assert series(two, "loss") == pytest.approx(series(one, "loss"), rel=5e-3)
    assert all(value.dtype.itemsize == 4 for value in weights(two, 4).values())
    full = one_process(GPT, "strategy=lora")
    assert series(two, "loss") != pytest.approx(series(full, "loss"), rel=1e-6)


@pytest.mark.parametrize("stage", STAGES)
def test_numbers_that_are_not_finite_end_both_ranks_and_change_no_weight(tmp_path, stage):
    base = tmp_path / "base"
    shutil.copytree(shipped("models") / "tiny" / "bert", base)
    found = load_file(base / "model.safetensors")
    largest = max((name for name in found if "layer.0" in name), key=lambda n: found[n].numel())
    found[largest] *= 1e38
    save_file(found, base / "model.safetensors", {"format": "pt"})
    more = ("strategy=full", f"model.name_or_path={base}")
    code, said = refused(tmp_path, BERT, *more, config=settings(tmp_path, stage))
    assert code == 5, said
    assert "no weight was changed" in said


@pytest.mark.parametrize("stage", STAGES)
def test_ranks_that_drop_other_layers_end_instead_of_mixing_gradients(tmp_path, stage):
    base = tmp_path / "base"
    shutil.copytree(shipped("models") / "tiny" / "whisper", base)
    values = storage.read_json(base / "config.json")
    storage.write_json(base / "config.json", {**values, "encoder_layerdrop": 0.5})
    more = ("strategy=full", "model.dropout=null", f"model.name_or_path={base}")
    code, said = refused(tmp_path, WHISPER, *more, config=settings(tmp_path, stage))
    assert code == 9, said  # gloo ends a rank whose message has another size, else we do
    assert not list((tmp_path / "two" / "case" / "checkpoints").glob("step-*"))


def test_what_is_not_proven_is_refused_with_what_to_do(tmp_path):
    offload = settings(tmp_path, 3, offload_param={"device": "cpu"})
    code, said = refused(tmp_path, GPT, "strategy=lora", config=offload)
    assert (code, "offload_param" in said) == (2, True), said
    plain = settings(tmp_path, 2)
    code, said = refused(tmp_path / "other", BERT, "train.optim=adafactor", config=plain)
    assert (code, "train.optim=adafactor" in said) == (2, True), said
