"""The augmenter: raw training rows and what they were encoded to, changed by their visit alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from finetune.data.augmentation import pictures, sound
from finetune.data.augmentation.pictures import PictureChanges
from finetune.data.augmentation.sound import SoundChanges
from finetune.data.augmentation.text import TextChanges
from finetune.data.kinds import Audio, Image, Kind, Text, input_columns
from finetune.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

Key = tuple[int, int, int]
"""Row number, epoch, and how often the epoch met the row before."""
POINTING = frozenset({"answers", "tags"})
"""Columns whose values say where in a text something is: such a text must stay as it is."""
ROWS, FEATURES = 0, 1
"""Draws for a row's raw values and for its features are apart."""


@dataclass(frozen=True)
class Augmenter:
    """Changes rows. What becomes of a row depends on the seed and its key, on nothing else.

    So it is the same in any process, in any micro-batch, and after a resume.
    """

    kinds: Mapping[str, Kind]
    """Canonical columns of the task."""
    seed: int
    pictures: PictureChanges = field(default_factory=PictureChanges)
    sound: SoundChanges = field(default_factory=SoundChanges)
    text: TextChanges = field(default_factory=TextChanges)
    sampling_rate: int | None = None
    """Samples per second that the model hears; None where it hears nothing."""

    def __bool__(self) -> bool:
        return bool(self.pictures or self.sound or self.text)

    def rows(self, rows: Sequence[Mapping[str, Any]], keys: Sequence[Key]) -> list[dict[str, Any]]:
        """Return changed rows; what they came from stays as it was."""
        return [
            self._changed(row, self._draw(key, ROWS)) for row, key in zip(rows, keys, strict=True)
        ]

    def features(self, features: list[dict[str, Any]], keys: Sequence[Key]) -> list[dict[str, Any]]:
        """Return features with stripes of their spectrograms blanked.

        Raises:
            ConfigError: The base model hears samples, not a spectrogram.
        """
        if not self.sound.of_spectrogram:
            return features
        changed = []
        for item, key in zip(features, keys, strict=True):
            values = item["input_features"] if "input_features" in item else item["input_values"]
            if values.ndim != 2:
                raise ConfigError(
                    "`data.augment.sound.mask_time` and `.mask_frequency` blank a spectrogram, but "
                    "this base model reads the samples themselves; leave them at 0."
                )
            name = "input_features" if "input_features" in item else "input_values"
            changed.append({**item, name: self.sound.mask(values, self._draw(key, FEATURES))})
        return changed

    def _draw(self, key: Key, stream: int) -> np.random.Generator:
        import numpy as np

        return np.random.default_rng([self.seed, *key, stream])

    def _changed(self, row: Mapping[str, Any], draw: np.random.Generator) -> dict[str, Any]:
        from finetune.data.media import decode_audio, decode_image

        changed = dict(row)
        if self.pictures:
            for name in columns_of(self.kinds, "pictures"):
                if row.get(name) is not None:
                    image = self.pictures.apply(decode_image(row[name]), draw)
                    changed[name] = pictures.embedded(image)
        if self.sound.of_samples and self.sampling_rate:
            for name in columns_of(self.kinds, "sound"):
                if row.get(name) is not None:
                    samples = decode_audio(row[name], self.sampling_rate)
                    samples = self.sound.apply(samples, self.sampling_rate, draw)
                    changed[name] = sound.embedded(samples, self.sampling_rate)
        if self.text:
            for name in columns_of(self.kinds, "text"):
                if row.get(name) is not None:
                    changed[name] = self.text.apply(str(row[name]), draw)
        return changed


def columns_of(kinds: Mapping[str, Kind], modality: str) -> list[str]:
    """Return the columns of a task that ``pictures``, ``sound`` or ``text`` changes.

    Of texts, those that the model reads, and none into which other columns point.
    """
    if modality == "text":
        if POINTING & set(kinds):
            return []
        asked = input_columns(kinds)
        return [name for name in asked if isinstance(kinds[name], Text)]
    kind = {"pictures": Image, "sound": Audio}[modality]
    return [name for name, found in kinds.items() if isinstance(found, kind)]
