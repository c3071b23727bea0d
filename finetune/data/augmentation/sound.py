"""Random changes of a recording: speed, noise and gain; of its spectrogram: blanked stripes."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Samples = np.ndarray[Any, np.dtype[np.float32]]

NOISE_RANGE = 20.0
"""Decibels above the lowest ratio of signal to noise within which one is drawn."""
RATE_STEPS = 1000
"""Speeds are drawn in thousandths: a resampler wants a ratio of whole numbers."""


@dataclass(frozen=True)
class SoundChanges:
    """How recordings may change; without an argument they don't."""

    probability: float = 1.0
    """Share of the recordings that are changed at all."""
    speed: float = 0.0
    """Largest change of speed, as a share."""
    noise: float | None = None
    """Lowest ratio of signal to noise in decibels; None adds no noise."""
    gain: float = 0.0
    """Largest change of loudness in decibels."""
    mask_time: float = 0.0
    """Largest share of a spectrogram's frames that is blanked."""
    mask_frequency: float = 0.0
    """Largest share of a spectrogram's bands that is blanked."""
    longest_seconds: float | None = None
    """Nothing is slowed down beyond this: the model would not hear its end."""

    def __bool__(self) -> bool:
        return self.of_samples or self.of_spectrogram

    @property
    def of_samples(self) -> bool:
        """Whether the recording itself may change."""
        return self.probability > 0 and bool(self.speed or self.noise is not None or self.gain)

    @property
    def of_spectrogram(self) -> bool:
        """Whether its spectrogram may."""
        return self.probability > 0 and bool(self.mask_time or self.mask_frequency)

    def apply(self, samples: Samples, rate: int, draw: np.random.Generator) -> Samples:
        """Return a changed recording, within [-1, 1].

        Args:
            samples: Shape (samples,), within [-1, 1].
            rate: Samples per second.
            draw: The only source of chance.
        """
        import numpy as np

        if draw.random() >= self.probability:
            return samples
        if self.speed:
            factor = float(draw.uniform(1 - self.speed, 1 + self.speed))
            if self.longest_seconds:
                factor = max(factor, min(1.0, len(samples) / rate / self.longest_seconds))
            samples = at_speed(samples, factor)
        if self.noise is not None:
            ratio = float(draw.uniform(self.noise, self.noise + NOISE_RANGE))
            samples = with_noise(samples, ratio, draw)
        if self.gain:
            samples = samples * np.float32(10 ** (draw.uniform(-self.gain, self.gain) / 20))
        clipped: Samples = np.clip(samples, -1, 1, dtype=np.float32)
        return clipped

    def mask(self, values: Samples, draw: np.random.Generator) -> Samples:
        """Return a spectrogram with one stripe of frames and one of bands blanked.

        Blanked is its mean (SpecAugment, Park et al. 2019). Padding is no place for a stripe: it
        would change nothing.

        Args:
            values: Shape (bands, frames).
            draw: The only source of chance.
        """
        import numpy as np

        if draw.random() >= self.probability:
            return values
        changed, blank = values.copy(), values.mean(dtype=np.float64)
        bands, frames = len(values), heard(values)
        if self.mask_time:
            start, end = stripe(frames, self.mask_time, draw)
            changed[:, start:end] = blank
        if self.mask_frequency:
            start, end = stripe(bands, self.mask_frequency, draw)
            changed[start:end, :frames] = blank
        return changed


def at_speed(samples: Samples, factor: float) -> Samples:
    """Return a recording played faster (above 1) or slower, with its pitch."""
    import numpy as np
    import soxr

    steps = max(1, round(factor * RATE_STEPS))
    if steps == RATE_STEPS:
        return samples
    changed = soxr.resample(samples, steps, RATE_STEPS)
    # A sample or two, resampled, may be none.
    return np.asarray(changed, dtype=np.float32) if len(changed) else samples


def with_noise(samples: Samples, ratio: float, draw: np.random.Generator) -> Samples:
    """Return a recording with white noise this many decibels below it; silence stays silent."""
    import numpy as np

    power = float(np.mean(np.square(samples, dtype=np.float64)))
    noise = draw.standard_normal(len(samples), dtype=np.float32)
    return samples + noise * np.float32(np.sqrt(power / 10 ** (ratio / 10)))


def heard(values: Samples) -> int:
    """Return the frames before the padding, all of whose frames are the same as the last."""
    import numpy as np

    different = np.flatnonzero((values != values[:, -1:]).any(axis=0))
    return int(different[-1]) + 1 if len(different) else values.shape[1]


def stripe(size: int, most: float, draw: np.random.Generator) -> tuple[int, int]:
    """Return where a random stripe of at most a share of a size starts and ends."""
    width = int(draw.integers(int(size * most) + 1))
    start = int(draw.integers(size - width + 1))
    return start, start + width


def embedded(samples: Samples, rate: int) -> dict[str, Any]:
    """Return a recording as a row holds it: as a WAV file of floats, which loses nothing."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="WAV", subtype="FLOAT")
    return {"bytes": buffer.getvalue(), "path": None}
