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


@dataclass
class SynthesizeConfig:
    """Training rows that a local language model makes up; off until a model is named.

    They are compared with all splits, marked in the column `synthetic`, and counted in the audit.
    """

    model: str | None = None
    """A causal language model: hub id or folder, under the same rules as a base model."""
    revision: str | None = None
    """Branch, tag or commit on the hub."""
    rows: int = bounded(100, low=1)
    """Rows to add; fewer when the model repeats itself."""
    labels: list[str] = field(default_factory=list)
    """Labels to add rows for, in turn; all when empty."""
    examples: int = bounded(4, low=1, high=50)
    """Training rows shown in each prompt."""
    prompt: str | None = None
    """Template with `{examples}` and, for a task with labels, `{label}`; ours when null."""
    rounds: int = bounded(4, low=1, high=100)
    """How often to ask for what is still missing."""
    temperature: float = bounded(0.9, above=0.0, high=5.0)
    """Higher draws rarer words."""
    top_p: float = bounded(0.95, above=0.0, high=1.0)
    """Draw from the likeliest words that together have this probability."""
    max_new_tokens: int = bounded(128, low=1)
    """Longest row made up."""
    batch_size: int = bounded(16, low=1)
    """Prompts in a forward pass."""
