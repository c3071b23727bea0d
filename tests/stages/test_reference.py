"""The base model is asked once about each row, and what it says travels with the rows."""

from __future__ import annotations

import shutil

import pytest
import torch

from finetune.errors import ConfigError
from finetune.models.load import LoadOptions
from finetune.runs import storage
from finetune.runs.folder import RunFolder
from finetune.stages import base_model, reference, rows, splits
from finetune.stages.devices import Device
from finetune.tasks.base import in_batches
from tests.training.drive import config_of, log_of, train, weights_of

TAG = "preference"
CPU = Device("cpu", "fp32")


def asked(tmp_path, *options):
    """Return a run, its configuration, its base model, and what that says."""
    config = config_of(TAG, tmp_path, *options)
    run = RunFolder(tmp_path / config.name)
    base = base_model.resolve(config)
    task = config.task
    task.load_processor(base.folder)
    model = task.load_model(base.folder, LoadOptions(dropout=0.0)).model
    return run, config, model, reference.ask(run, config, model, CPU)


def test_what_is_said_is_what_the_model_says_of_whole_sequences(tmp_path):
    run, config, model, found = asked(tmp_path)
    part = rows.of(run, config.task, "train")
    features = part.fetch(range(len(part)))

    def said(chosen):
        with torch.no_grad():
            return config.task.say(
                model, config.task.collate([features[i] for i in chosen])
            ).tolist()

    wanted = in_batches(features, 4, said)
    assert len(found.said["train"]) == len(part) > 20
    torch.testing.assert_close(
        torch.tensor(found.said["train"]), torch.tensor(wanted), rtol=1e-5, atol=0.0
    )
    assert not any(layer._forward_pre_hooks for layer in model.modules()), "it stays what it was"
    assert model.config._attn_implementation == "sdpa"


def test_it_is_asked_once_and_read_the_next_time(tmp_path, monkeypatch, capsys):
    *_, first = asked(tmp_path)
    assert "asked about" in capsys.readouterr().err
    monkeypatch.setattr(reference, "heard", lambda *_: pytest.fail("it was asked again"))
    *_, again = asked(tmp_path)
    assert again.said == first.said
    assert "was known from before" in capsys.readouterr().err


def test_other_rows_are_asked_about_anew_and_a_damaged_file_too(tmp_path):
    run, _, _, first = asked(tmp_path)
    [file] = (run.path / "reference").glob("train-*")
    file.write_bytes(file.read_bytes()[:-8])
    run, *_, again = asked(tmp_path)
    assert again.said == first.said
    table = splits.encoded_file(run, "train")
    table.write_bytes(table.read_bytes() + b"\0")
    run, *_, other = asked(tmp_path)
    assert other.files["train"] != first.files["train"]
    assert other.files["validation"] == first.files["validation"]
    assert len(list((run.path / "reference").iterdir())) == 2, "nothing is left behind"


def test_another_base_model_is_asked_anew(tmp_path):
    run, config, model, first = asked(tmp_path)
    known = run.manifest()["base_model"]
    run.record(base_model={**known, "sha256": {"model.safetensors": "0" * 64}})
    again = reference.ask(run, config, model, CPU)
    assert not set(again.files.values()) & set(first.files.values())


def test_memory_that_runs_out_takes_half_as_many_rows(tmp_path, monkeypatch):
    *_, first = asked(tmp_path / "a")
    say = type(config_of(TAG, tmp_path / "c").task).say

    def narrow(self, model, batch):
        if len(batch["labels"]) > 8:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return say(self, model, batch)

    monkeypatch.setattr("finetune.tasks.preference.Preference.say", narrow)
    *_, other = asked(tmp_path / "b")
    torch.testing.assert_close(
        torch.tensor(other.said["train"]), torch.tensor(first.said["train"]), rtol=1e-5, atol=0.0
    )


STEPS = ("train.max_steps=3", "train.eval_strategy=steps", "train.eval_steps=1")


@pytest.mark.parametrize("strategy", ["lora", "full"])
def test_a_resumed_training_is_the_uninterrupted_one_to_the_bit(strategy, tmp_path):
    options = (f"strategy={strategy}", *STEPS, "train.save_total_limit=9")
    run, facts = train(config_of(TAG, tmp_path / "whole", *options))
    assert facts["reference"]["rows"]["train"] > 0
    assert facts["prompt_shared"]
    wanted, log = weights_of(run, 3), log_of(run)
    again, _ = train(config_of(TAG, tmp_path / "cut", *options))
    for step in (2, 3):
        shutil.rmtree(again.checkpoints / f"step-{step}")
    shutil.rmtree(again.path / "reference")  # it is asked before a checkpoint is taken up
    again, _ = train(config_of(TAG, tmp_path / "cut", *options))
    assert weights_of(again, 3) == wanted
    assert log_of(again)[-1] == log[-1]


def test_validation_is_judged_relative_to_the_base_model(tmp_path):
    run, _ = train(config_of(TAG, tmp_path, *STEPS))
    margins = [line["eval_reward_margin"] for line in log_of(run) if "eval_reward_margin" in line]
    assert len(margins) == 3
    assert all(0 < abs(margin) < 0.1 for margin in margins)  # beside 2.7 without


def losses(run):
    return [line["loss"] for line in storage.read_jsonl(run.metrics_log) if "loss" in line]


def test_asking_at_every_step_trains_the_same(tmp_path):
    once, _ = train(config_of(TAG, tmp_path / "once", *STEPS))
    each, facts = train(
        config_of(TAG, tmp_path / "each", *STEPS, "task.precompute_reference=false")
    )
    assert "reference" not in facts
    assert losses(each) == pytest.approx(losses(once), rel=1e-5)
    assert losses(once)[0] == pytest.approx(0.6931, abs=1e-4)
    assert losses(once)[-1] != pytest.approx(losses(once)[0], abs=1e-6)


def test_neither_sharing_nor_padding_changes_what_is_learnt(tmp_path):
    both, _ = train(config_of(TAG, tmp_path / "both", *STEPS))
    apart, facts = train(config_of(TAG, tmp_path / "apart", *STEPS, "task.share_prompt=false"))
    assert facts["prompt_because"] == "task.share_prompt is false"
    plain, facts = train(config_of(TAG, tmp_path / "plain", *STEPS, "train.padding_free=false"))
    assert facts["prompt_because"] == "train.padding_free is false"
    assert losses(apart) == pytest.approx(losses(both), rel=1e-5)
    assert losses(plain) == pytest.approx(losses(both), rel=1e-5)


def test_without_a_base_model_to_ask_at_every_step_it_is_refused(tmp_path):
    options = ("strategy=full", "task.precompute_reference=false")
    with pytest.raises(ConfigError, match="no longer there"):
        asked(tmp_path, *options)


def test_a_loss_without_reference_asks_nobody(tmp_path):
    *_, found = asked(tmp_path, "task.reference_free=true")
    assert found is None


def test_test_rows_carry_what_the_base_says_so_that_it_prefers_neither(tmp_path):
    run, config, _, _ = asked(tmp_path)
    base = base_model.resolve(config)
    test = splits.as_rows(splits.read(run, "test")[:])
    beside = reference.beside(config.task, config, base, test, "cpu")
    model = config.task.load_model(base.folder, LoadOptions(dropout=0.0)).model
    found = config.task.predict(model, beside, batch_size=config.evaluate.batch_size)
    assert {prediction.value for prediction in found} == {"neither"}
    assert {prediction.value for prediction in config.task.predict(model, test)} != {"neither"}


def test_one_row_is_no_plural():
    assert "asked about 1 row once" in reference.told(1, 1, 0.5)
    assert "says of 1,200 rows was known" in reference.told(0, 1200, 0.0)
