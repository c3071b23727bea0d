"""`model.audio_context=auto` through the train stage."""

from __future__ import annotations

from pathlib import Path

import pytest

from finetune.errors import ConfigError
from tests.stages.finished import GPT, WHISPER
from tests.training.drive import config_of, log_of, train

SHORT = "model.audio_context=auto"


def test_training_hears_the_longest_recording_and_no_more_whatever_the_micro_batch(
    tmp_path: Path,
) -> None:
    whole, facts = train(config_of(WHISPER, tmp_path / "whole", "train.max_steps=2", SHORT))
    heard = facts["audio_context"]
    assert heard["positions"] < heard["of"]
    cut, _ = train(
        config_of(WHISPER, tmp_path / "cut", "train.max_steps=2", SHORT, "train.micro_batch_size=3")
    )
    for one, other in zip(log_of(whole), log_of(cut), strict=True):
        if "loss" in one:
            assert one["loss"] == pytest.approx(other["loss"], rel=1e-5)


def test_it_is_off_by_default(tmp_path: Path) -> None:
    _, facts = train(config_of(WHISPER, tmp_path, "train.max_steps=1"))
    assert "audio_context" not in facts


def test_a_model_that_hears_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not pad recordings"):
        train(config_of(GPT, tmp_path, "train.max_steps=1", SHORT))
