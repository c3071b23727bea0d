"""Recordings and transcripts: where labels start, what is too long, how answers are bounded."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from finetune.errors import ConfigError
from finetune.models.load import LoadOptions
from finetune.tasks.automatic_speech_recognition import AutomaticSpeechRecognition
from tests.models.bases import TINY


def recording(seconds: float, rate: int = 8000) -> dict[str, Any]:
    sound = np.sin(np.arange(int(seconds * rate)) * 0.3).astype(np.float32)
    file = io.BytesIO()
    soundfile.write(file, sound, rate, format="WAV")
    return {"bytes": file.getvalue(), "path": "tone.wav"}


@pytest.fixture
def task() -> AutomaticSpeechRecognition:
    found = AutomaticSpeechRecognition()
    found.load_processor(TINY / "whisper")
    return found


def test_labels_start_after_the_token_that_starts_the_decoder(
    task: AutomaticSpeechRecognition,
) -> None:
    tokenizer = task.processor.tokenizer
    assert tokenizer("5")["input_ids"][0] == task.decoder_start, "else this proves nothing"
    labels = task.encode([{"text": "5 9 2"}])[0]["labels"]
    assert labels[0] != task.decoder_start
    assert labels[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(labels, skip_special_tokens=True).strip() == "5 9 2"


def test_the_decoder_reads_the_labels_one_place_to_the_right(
    task: AutomaticSpeechRecognition,
) -> None:
    features = task.encode([{"text": "5"}, {"text": "5 9 2 1"}])
    batch = task.collate(features)
    read, labels = batch["decoder_input_ids"], batch["labels"]
    assert read[:, 0].tolist() == [task.decoder_start] * 2
    assert read[1, 1:].tolist() == labels[1, :-1].tolist()
    assert labels[0, -1] == -100
    assert not (read == -100).any()


def test_a_recording_longer_than_the_window_is_overlong(task: AutomaticSpeechRecognition) -> None:
    window = task.seconds()
    assert window
    rows = [{"audio": recording(window - 0.5), "text": "1"},
            {"audio": recording(window + 0.5), "text": "1"}]  # fmt: skip
    measured = task.measure(rows)
    assert [item["overlong"] for item in measured] == [False, True]
    assert measured[1]["seconds"] == pytest.approx(window + 0.5)


def test_a_long_transcript_is_cut_keeps_its_end_and_is_overlong(
    task: AutomaticSpeechRecognition,
) -> None:
    task.max_length = 6
    row = task.measure([{"audio": recording(0.2), "text": "1 2 3 4 5 6 7 8 9"}])[0]
    assert row["length"] == len(row["labels"]) == 6 < row["n_tokens"]
    assert row["labels"][-1] == task.processor.tokenizer.eos_token_id
    assert row["overlong"] is True


def test_sound_at_another_rate_is_resampled(task: AutomaticSpeechRecognition) -> None:
    rate = task.processor.feature_extractor.sampling_rate
    found = task.encode([{"audio": recording(0.5, rate)}, {"audio": recording(0.5, rate * 2)}])
    assert found[0]["input_features"].shape == found[1]["input_features"].shape


def test_a_language_is_refused_where_the_base_asks_for_none(tmp_path: Path) -> None:
    shutil.copytree(TINY / "whisper", tmp_path / "base")
    (tmp_path / "base" / "generation_config.json").unlink()
    with pytest.raises(ConfigError, match="does not ask for a language"):
        AutomaticSpeechRecognition(language="en").load_processor(tmp_path / "base")


@pytest.mark.parametrize("language", ["klingon", "de"])
def test_a_language_that_the_base_does_not_know_is_refused(language: str) -> None:
    """German's token would be counted out to be another one of this base's."""
    with pytest.raises(ConfigError, match=f"language={language}. is no language") as caught:
        AutomaticSpeechRecognition(language=language).load_processor(TINY / "whisper")
    assert caught.value.fix == "It knows: en."


@pytest.mark.parametrize("language", ["en", "english"])
def test_a_language_is_said_before_each_transcript(language: str) -> None:
    task = AutomaticSpeechRecognition(language=language)
    tokenizer = task.load_processor(TINY / "whisper").tokenizer
    labels = task.encode([{"text": "5"}])[0]["labels"]
    assert tokenizer.convert_ids_to_tokens(labels)[:2] == ["<|en|>", "<|transcribe|>"]


def test_an_answer_stays_within_the_decoder_s_positions(
    task: AutomaticSpeechRecognition, tmp_path: Path
) -> None:
    model = task.load_model(TINY / "whisper", LoadOptions()).model
    task.max_new_tokens = 10_000
    assert task.answer_limit(model) <= model.config.max_target_positions
    task.max_new_tokens = None
    task.learn({"tokens": {"target_max": 10}})
    task.save_model(model, tmp_path)
    written = json.loads((tmp_path / "generation_config.json").read_text(encoding="utf-8"))
    assert written["max_new_tokens"] == 23
    assert (tmp_path / "processor_config.json").is_file()
