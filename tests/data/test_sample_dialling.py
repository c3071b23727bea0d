"""The dialling sample is what its generator makes, and its minute Whisper is really pretrained."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
import yaml

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "finetune/data/samples/dialling"
TINY = ROOT / "finetune/models/tiny/whisper"


def load_module(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem + "_script", ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    return load_module("scripts/samples/dialling.py")


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return pq.read_table(FOLDER / "dialling.parquet").to_pylist()


@pytest.fixture(scope="module")
def waves(rows) -> list[np.ndarray]:
    decoded = []
    for row in rows:
        samples, rate = soundfile.read(io.BytesIO(row["audio"]["bytes"]), dtype="int16")
        assert rate == 8000
        decoded.append(samples)
    return decoded


def decode(wave: np.ndarray) -> str:
    """Read dialled digits as a telephone exchange does: the strongest row and column tone."""
    tones = [697, 770, 852, 941, 1209, 1336, 1477]
    blocks = np.stack([wave[at : at + 240] for at in range(0, len(wave) - 240, 40)]).astype(float)
    turns = np.exp(-2j * np.pi * np.outer(np.arange(240), tones) / 8000)
    power = abs((blocks * np.hanning(240)) @ turns) ** 2
    both = np.minimum(power[:, :4].max(axis=1), power[:, 4:].max(axis=1))
    keys = ["123456789*0#"[3 * row[:4].argmax() + row[4:].argmax()] for row in power]
    on = np.concatenate([[False], both > 0.1 * both.max(), [False]])
    edges = np.flatnonzero(on[1:] != on[:-1]).reshape(-1, 2)
    return " ".join(keys[(start + stop) // 2] for start, stop in edges if stop - start > 3)


def test_the_folder_is_at_most_six_megabytes():
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) <= 6_000_000


def test_there_are_600_clips_evenly_over_three_classes_of_noise(rows):
    assert len(rows) == 600
    noise = [row["noise"] for row in rows]
    assert {name: noise.count(name) for name in set(noise)} == dict.fromkeys(
        ("low", "medium", "high"), 200
    )


def test_the_columns_are_those_the_configuration_names(rows):
    config = yaml.safe_load((ROOT / "conf/data/sample/dialling.yaml").read_text())
    assert set(config["columns"].values()) | set(config["slices"]) == set(rows[0])
    assert config["path"] == "package:finetune/data/samples/dialling"


def test_audio_is_encoded_bytes_with_a_path(rows):
    assert all(set(row["audio"]) == {"bytes", "path"} for row in rows)
    assert len({row["audio"]["path"] for row in rows}) == len(rows)


def test_every_text_is_three_to_five_digits_with_spaces_between(rows):
    for row in rows:
        digits = row["text"].split(" ")
        assert 3 <= len(digits) <= 5
        assert all(len(digit) == 1 and digit in "0123456789" for digit in digits)


def test_no_number_and_no_sound_occurs_twice(rows, waves):
    assert len({row["text"] for row in rows}) == len(rows)
    assert len({wave.tobytes() for wave in waves}) == len(rows)


def test_every_digit_is_dialled_often(rows):
    dialled = "".join(row["text"] for row in rows)
    assert min(dialled.count(digit) for digit in "0123456789") > 180


def test_clips_last_between_0_4_and_2_5_seconds_and_do_not_clip(waves):
    seconds = [len(wave) / 8000 for wave in waves]
    assert min(seconds) > 0.4
    assert max(seconds) < 2.5
    assert max(int(np.abs(wave.astype(int)).max()) for wave in waves) < 32767


def test_noise_classes_differ_in_noise(rows, waves):
    # The first 40 ms hold no key: their power over the loudest 40 ms is the noise over the signal.
    share: dict[str, list[float]] = {"low": [], "medium": [], "high": []}
    for row, wave in zip(rows, waves, strict=True):
        blocks = wave[: len(wave) // 320 * 320].astype(float).reshape(-1, 320).var(axis=1)
        share[row["noise"]].append(blocks[0] / blocks.max())
    assert max(share["low"]) < min(share["medium"])
    assert np.median(share["medium"]) < 0.5 * np.median(share["high"])


def test_an_exchange_reads_the_clips_with_low_noise_as_their_texts(rows, waves):
    low = [row["noise"] == "low" for row in rows]
    read = [decode(wave) == row["text"] for row, wave in zip(rows, waves, strict=True)]
    assert np.mean(np.array(read)[low]) > 0.97


def test_the_generator_makes_the_file_sample_for_sample(rows, waves, generator):
    made = list(generator.clips())
    assert len(made) == len(rows)
    for row, wave, (samples, text, noise) in zip(rows, waves, made, strict=True):
        assert (row["text"], row["noise"]) == (text, noise)
        np.testing.assert_array_equal(wave, samples)


def test_another_seed_makes_other_numbers(rows, generator):
    texts = {text for _, text, _ in generator.clips(seed=1)}
    assert len(texts & {row["text"] for row in rows}) < len(rows)


# The minute pretrained base that learns this sample


@pytest.fixture(scope="module")
def pretraining() -> ModuleType:
    return load_module("scripts/pretrain/whisper.py")


@pytest.fixture(scope="module")
def base() -> tuple[Any, Any]:
    from transformers import AutoModelForSpeechSeq2Seq, AutoProcessor

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        processor = AutoProcessor.from_pretrained(TINY, local_files_only=True)
        model = AutoModelForSpeechSeq2Seq.from_pretrained(TINY, local_files_only=True)
    return processor, model.eval()


def transcribe(base: tuple[Any, Any], waves: list[np.ndarray]) -> tuple[list[str], Any]:
    processor, model = base
    features = processor(waves, sampling_rate=16000, return_tensors="pt").input_features
    tokens = model.generate(input_features=features)
    return processor.batch_decode(tokens, skip_special_tokens=True), tokens


def test_the_weights_are_safetensors_of_at_most_three_megabytes():
    assert (TINY / "model.safetensors").stat().st_size <= 3_000_000
    assert not [file for file in TINY.iterdir() if file.suffix in {".bin", ".pt", ".pth", ".pkl"}]


def test_the_base_is_plain_float32_whisper_without_dropout_and_with_tied_output(base):
    _, model = base
    assert type(model).__name__ == "WhisperForConditionalGeneration"
    assert {str(weight.dtype) for weight in model.parameters()} == {"torch.float32"}
    config = model.config
    assert config.dropout == config.attention_dropout == config.activation_dropout == 0.0
    assert model.proj_out.weight is model.model.decoder.embed_tokens.weight


def test_labels_start_with_the_prefix_that_generation_starts_with(base):
    processor, model = base
    prefix = ["<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>"]
    labels = processor.tokenizer("5 0 7").input_ids
    tokens = processor.tokenizer.convert_ids_to_tokens(labels)
    assert tokens == [*prefix, "5", "Ġ", "0", "Ġ", "7", "<|endoftext|>"]
    assert labels[0] == model.generation_config.decoder_start_token_id
    assert labels[-1] == model.generation_config.eos_token_id


@pytest.mark.parametrize("text", ["5 0 7 2", "six", "Two, three: go!", "Málaga – 7 €"])
def test_any_text_survives_the_tokenizer(base, text):
    tokenizer = base[0].tokenizer
    assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True) == text


def test_features_are_the_same_each_time_and_fit_the_encoder(base, waves):
    processor, model = base
    wave = waves[0].astype(np.float32) / 32768
    made = [
        processor(wave, sampling_rate=16000, return_tensors="np").input_features for _ in range(2)
    ]
    np.testing.assert_array_equal(made[0], made[1])
    assert made[0].shape == (1, model.config.num_mel_bins, 2 * model.config.max_source_positions)


def test_the_base_hears_the_signals_it_was_pretrained_on(base, pretraining):
    random = np.random.default_rng(1234)
    clips = [pretraining.clip(random, 4, only="r1") for _ in range(48)]
    heard, tokens = transcribe(base, [item.wave for item in clips])
    end = base[1].generation_config.eos_token_id
    assert tokens.shape[1] < 20  # stopped by itself, long before the 128 tokens it may write
    assert all(row[0] != end for row in tokens.tolist())
    right = np.mean([word == item.text for word, item in zip(heard, clips, strict=True)])
    assert right > 0.6


def test_the_loss_on_related_material_is_far_below_chance(base, pretraining):
    import torch

    processor, model = base
    random = np.random.default_rng(4321)
    inputs = pretraining.batch(
        processor, [pretraining.clip(random, 4, only="r1") for _ in range(64)]
    )
    untrained = pretraining.build_model(processor)
    with torch.no_grad():
        assert model(**inputs).loss < 0.25  # 0.95 is the format of the texts alone
        assert untrained(**inputs).loss > 4.0


def test_the_untouched_base_does_not_know_the_keys_of_a_telephone(base, rows, waves):
    import jiwer
    import soxr

    some = [soxr.resample(wave.astype(np.float32) / 32768, 8000, 16000) for wave in waves[:96]]
    heard, _ = transcribe(base, some)
    assert jiwer.wer([row["text"] for row in rows[:96]], heard) > 0.75
