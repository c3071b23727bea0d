"""Recordings: within range, at the ratio asked for; spectrograms: stripes where there is sound."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.data.augmentation.sound import SoundChanges, embedded, heard, with_noise
from finetune.data.media import decode_audio

RATE = 8000
ALL = SoundChanges(speed=0.2, noise=5, gain=12)


def tone(samples=4000, level=0.5):
    return (level * np.sin(2 * np.pi * 440 * np.arange(samples) / RATE)).astype(np.float32)


def changed(changes, samples, seed=0):
    return changes.apply(samples, RATE, np.random.default_rng(seed))


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 3000), st.floats(0, 1), st.integers(0, 99))
def test_samples_stay_numbers_within_range(samples, level, seed):
    found = changed(ALL, tone(samples, level), seed)
    assert found.dtype == np.float32
    assert found.ndim == 1
    assert len(found)
    assert np.isfinite(found).all()
    assert np.abs(found).max() <= 1


def test_speed_changes_length_within_bounds():
    lengths = [len(changed(SoundChanges(speed=0.1), tone(), seed)) for seed in range(60)]
    assert min(lengths) >= 4000 / 1.1 - 8
    assert max(lengths) <= 4000 / 0.9 + 8
    assert min(lengths) < 3800 < 4200 < max(lengths)


def test_nothing_is_slowed_down_beyond_what_the_model_hears():
    changes = SoundChanges(speed=0.5, longest_seconds=0.55)
    lengths = [len(changed(changes, tone(), seed)) for seed in range(60)]
    assert 4000 < max(lengths) <= 0.55 * RATE + 8
    longer = SoundChanges(speed=0.5, longest_seconds=0.1)
    assert max(len(changed(longer, tone(), seed)) for seed in range(60)) <= 4000 + 8


@pytest.mark.parametrize("ratio", [0, 10, 30])
def test_noise_has_the_ratio_asked_for(ratio):
    clean = tone(40_000)
    noise = with_noise(clean, ratio, np.random.default_rng(0)) - clean
    assert 10 * np.log10(np.mean(clean**2) / np.mean(noise**2)) == pytest.approx(ratio, abs=0.2)


def test_silence_stays_silent():
    assert not changed(ALL, np.zeros(500, np.float32)).any()


def test_gain_is_within_its_decibels():
    peaks = [np.abs(changed(SoundChanges(gain=6), tone(level=0.4), s)).max() for s in range(60)]
    assert 0.2 - 0.01 <= min(peaks) < 0.25
    assert 0.7 < max(peaks) <= 0.8 + 0.01


def test_without_settings_nothing_changes():
    sound = tone()
    assert not SoundChanges()
    assert not SoundChanges(speed=0.1, probability=0)
    assert changed(SoundChanges(speed=0.1, probability=0), sound) is sound
    assert SoundChanges(mask_time=0.1)
    assert not SoundChanges(mask_time=0.1).of_samples


def test_what_is_embedded_is_decoded_to_the_same_samples():
    sound = changed(ALL, tone())
    assert (decode_audio(embedded(sound, RATE), RATE) == sound).all()


def spectrogram(bands=40, frames=100, padding=50):
    values = np.random.default_rng(0).normal(size=(bands, frames + padding)).astype(np.float32)
    values[:, frames:] = -1.5
    return values


def test_a_spectrogram_ends_where_its_padding_begins():
    assert heard(spectrogram()) == 100
    assert heard(spectrogram(padding=0)) in (99, 100)
    assert heard(np.zeros((4, 9), np.float32)) == 9


def test_stripes_lie_where_there_is_sound_and_are_no_wider_than_allowed():
    values = spectrogram()
    changes = SoundChanges(mask_time=0.2, mask_frequency=0.25)
    widths = []
    for seed in range(60):
        found = changes.mask(values, np.random.default_rng(seed))
        assert found.shape == values.shape
        assert found.dtype == values.dtype
        different = found != values
        assert not different[:, 100:].any()
        frames, bands = different.all(axis=0).sum(), different[:, :100].all(axis=1).sum()
        assert frames <= 20
        assert bands <= 10
        assert different.sum() == frames * 40 + bands * 100 - frames * bands
        widths.append((frames, bands))
    assert max(w for w, _ in widths) > 15
    assert max(b for _, b in widths) > 7
    assert values is not found
    assert (values == spectrogram()).all(), "what is kept in memory is left as it was"


def test_the_same_draw_gives_the_same_samples():
    assert (changed(ALL, tone(), 3) == changed(ALL, tone(), 3)).all()
    assert not np.array_equal(changed(ALL, tone(), 3), changed(ALL, tone(), 4))


def test_real_digits_stay_sound(shared):
    file = next((shared("asr_fsdd") / "train").glob("*.wav"))
    samples = decode_audio({"bytes": file.read_bytes(), "path": None}, RATE)
    assert 0.7 < len(changed(ALL, samples)) / len(samples) < 1.4
