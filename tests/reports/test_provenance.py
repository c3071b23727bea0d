"""Provenance: base model, training, machine and commands, each said in the right number."""

from __future__ import annotations

import pytest

from finetune.reports import facts, provenance

from . import folders


def of(folder, **train):
    """Facts of a run whose training stage has these entries."""
    found = facts.read(folders.classification(folder))
    found.manifest["stages"]["train"] |= train
    return found


@pytest.mark.parametrize(
    ("train", "words"),
    [
        ({"steps": 1, "epochs": 1}, "1 step, 1 epoch"),
        ({"steps": 29, "epochs": 1.0004}, "29 steps, 1 epoch"),
        ({"steps": 29, "epochs": 0.5}, "29 steps, 0.5 epochs"),
        ({"steps": 29, "epochs": 2, "stopped_early": True}, "29 steps, 2 epochs, stopped early"),
    ],
)
def test_one_step_or_epoch_is_no_plural(train, words, tmp_path):
    assert dict(provenance.model(of(tmp_path / "run", **train)))["Training"] == words


@pytest.mark.parametrize(
    ("batch", "micro", "steps", "words"),
    [
        (32, 16, 2, "(16 rows at a time, 2 times)"),
        (16, 16, 1, "(all at once)"),
        (32, 16, 1, "(16 rows at a time)"),  # on two processes
        (3, 1, 3, "(1 row at a time, 3 times)"),
    ],
)
def test_nothing_is_done_one_times(batch, micro, steps, words, tmp_path):
    train = {"global_batch_size": batch, "micro_batch_size": micro}
    train["gradient_accumulation_steps"] = steps
    assert dict(provenance.model(of(tmp_path / "run", **train)))["Global batch"].endswith(words)


def test_what_training_was_spared_is_told_and_what_it_was_not_is_left_out(tmp_path):
    told = dict(provenance.model(of(tmp_path / "run")))
    assert "Computed" not in told
    assert "Heard" not in told
    train = {
        "padding_free": True,
        "fused_lora": False,
        "frozen_part": {"module": "vision_model", "bytes": 9},
        "memory_plan": {"gradient_checkpointing": False},
        "audio_context": {"positions": 600, "of": 1500},
    }
    told = dict(provenance.model(of(tmp_path / "more", **train)))
    assert told["Computed"] == "without padding, frozen vision_model once per row"
    assert told["Heard"].startswith("600 of 1,500 positions while it was trained")


def test_stages_come_in_the_order_of_a_run(tmp_path):
    names = [name for name, _, _ in provenance.stages(of(tmp_path / "run"))]
    assert names == ["prepare", "train", "export", "evaluate"]


def test_the_replay_command_names_the_run_and_secrets_are_masked(tmp_path):
    found = of(tmp_path / "run")
    found.manifest["command"].append("tracking.token=hush")
    made, replay = provenance.commands(found)
    assert "hush" not in made
    assert replay.endswith(f"run={tmp_path.name}/run")


def test_parity_and_machine_are_left_out_where_unknown(tmp_path):
    found = of(tmp_path / "run")
    assert dict(provenance.parity(found))["Rows compared"] == "32"
    found.manifest.clear()
    assert provenance.parity(found) == provenance.environment(found) == []
