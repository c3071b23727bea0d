"""Near-duplicates of sound: copies are found, another take of the same word is not."""

import io

import numpy as np
import pyarrow as pa
import pytest
import soundfile
import soxr

from finetune.data.media import media_type
from finetune.data.near.sound import find_near_sound


def encoded(samples, rate, format="WAV"):
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=format)
    return buffer.getvalue()


def column(files):
    rows = [None if data is None else {"bytes": data, "path": None} for data in files]
    return pa.array(rows, media_type())


CHANGES = {
    "quieter": (lambda samples, rate: encoded(samples * 0.5, rate), 0.98),
    "flac": (lambda samples, rate: encoded(samples, rate, "FLAC"), 1.0),
    "ogg": (lambda samples, rate: encoded(samples, rate, "OGG"), 0.85),
    "resampled": (
        lambda samples, rate: encoded(soxr.resample(samples, rate, 2 * rate), 2 * rate),
        0.95,
    ),
    "silence before": (
        lambda samples, rate: encoded(np.concatenate([np.zeros(rate // 50), samples]), rate),
        0.99,
    ),
}


def sweep(start, end, seconds=0.6, rate=8_000):
    time = np.arange(int(seconds * rate)) / rate
    return 0.5 * np.sin(2 * np.pi * (start * time + (end - start) * time**2 / 2 / seconds))


@pytest.mark.parametrize("change", CHANGES)
def test_copies_of_sweeps_are_found_and_other_sweeps_are_not(change):
    sweeps = [sweep(start, end) for start in (300, 900, 1_800) for end in (400, 1_200, 2_600)]
    files = [encoded(one, 8_000) for one in sweeps]
    files += [CHANGES[change][0](one, 8_000) for one in sweeps]
    clusters = find_near_sound([column(files)]).clusters
    assert clusters[:9].tolist() == clusters[9:].tolist() == list(range(9))


def test_what_is_missing_broken_or_silent_is_not_compared(wav):
    silent = encoded(np.zeros(800), 8_000)
    files = [None, b"", b"no sound", silent, silent, wav(), wav()]
    assert find_near_sound([column(files)]).clusters.tolist() == [-1] * 5 + [0, 0]
    assert find_near_sound([]).clusters.tolist() == []


def test_the_same_tone_for_twice_as_long_is_another_recording(wav):
    assert find_near_sound([column([wav(0.5), wav(1.0)])]).clusters.tolist() == [-1, -1]


@pytest.mark.parametrize("change", CHANGES)
def test_planted_copies_of_real_digits_are_found(shared, change):
    alter, least = CHANGES[change]
    paths = sorted((shared("asr_fsdd") / "test").glob("*.wav"))
    files = [path.read_bytes() for path in paths]
    files += [alter(*soundfile.read(path)) for path in paths]
    group = find_near_sound([column(files)]).connected()
    assert np.mean(group[: len(paths)] == group[len(paths) :]) >= least


def test_other_takes_of_the_same_digit_are_not_near(shared):
    paths = sorted(shared("asr_fsdd").rglob("*.wav"))
    found = find_near_sound([column([path.read_bytes() for path in paths])])
    assert (found.clusters >= 0).sum() == 0
