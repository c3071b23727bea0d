"""Every key below `data.augment` and `data.synthesize`: training rows that are changed or added."""

from __future__ import annotations

from dataclasses import dataclass, field

from finetune.config.bounds import bounded


@dataclass
class PictureAugmentConfig:
    """Random changes of training pictures; a caption stays as it is, so mind `flip` with one."""

    probability: float = bounded(1.0, low=0.0, high=1.0)
    """Share of the pictures that are changed at all."""
    flip: bool = False
    """Mirror half of them; wrong where left and right matter, as in digits or captions."""
    rotate: float = bounded(0.0, low=0.0, high=180.0)
    """Turn by at most this many degrees, either way."""
    crop: float = bounded(0.0, low=0.0, high=0.9)
    """Cut away at most this share of the area; the rest is scaled to the old size."""
    color: float = bounded(0.0, low=0.0, high=1.0)
    """Change brightness, contrast and saturation by at most this share, each."""


@dataclass
class SoundAugmentConfig:
    """Random changes of training recordings."""

    probability: float = bounded(1.0, low=0.0, high=1.0)
    """Share of the recordings that are changed at all."""
    speed: float = bounded(0.0, low=0.0, high=0.5)
    """Play faster or slower by at most this share; the pitch changes with it."""
    noise: float | None = bounded(low=-10.0, high=80.0)
    """Add white noise; the signal is this many decibels, or up to 20 more, above it."""
    gain: float = bounded(0.0, low=0.0, high=40.0)
    """Make louder or softer by at most this many decibels."""
    mask_time: float = bounded(0.0, low=0.0, high=0.5)
    """Blank at most this share of a spectrogram's frames (SpecAugment)."""
    mask_frequency: float = bounded(0.0, low=0.0, high=0.5)
    """Blank at most this share of a spectrogram's bands (SpecAugment)."""


@dataclass
class TextAugmentConfig:
    """Random changes of training texts: of what the model reads, never of what it answers."""

    probability: float = bounded(1.0, low=0.0, high=1.0)
    """Share of the texts that are changed at all."""
    delete: float = bounded(0.0, low=0.0, high=0.5)
    """Chance of each word to be left out; one always stays."""
    swap: float = bounded(0.0, low=0.0, high=0.5)
    """Chance of each word to change places with the next."""
    protected: list[str] = field(default_factory=list)
    """Words that stay where they are, whatever their case."""


@dataclass
class AugmentConfig:
    """Random changes of training rows, drawn anew in each epoch by the seed; off by default."""

    pictures: PictureAugmentConfig = field(default_factory=PictureAugmentConfig)
    """Changes of pictures."""
    sound: SoundAugmentConfig = field(default_factory=SoundAugmentConfig)
    """Changes of recordings."""
    text: TextAugmentConfig = field(default_factory=TextAugmentConfig)
    """Changes of texts."""
