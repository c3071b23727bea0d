"""How training rows are changed: from settings to an augmenter, and what a task cannot use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetune.config.schema import RunConfig
from finetune.errors import ConfigError

if TYPE_CHECKING:
    from finetune.data.augmentation.augmenter import Augmenter

MEANT = {
    "pictures": "reads no pictures",
    "sound": "hears no recordings",
    "text": "reads no text of its own that may be changed",
}


def check(config: RunConfig) -> None:
    """Refuse what the task cannot use, before any row is read.

    Raises:
        ConfigError: With a sentence for each.
    """
    from finetune.data.augmentation.augmenter import columns_of
    from finetune.data.kinds import label_column

    made, task = settings(config), config.task
    problems = [
        f"`data.augment.{modality}` is set, but {task.tag} {meant}."
        for modality, meant in MEANT.items()
        if getattr(made, modality) and not columns_of(task.columns, modality)
    ]
    if config.train.sampling == "balanced" and label_column(task.columns) is None:
        problems.append(
            f"`train.sampling=balanced` needs a label for each row, which {task.tag} has not."
        )
    if problems:
        raise ConfigError(problems, fix="Leave these settings out, or choose another task.")


def settings(config: RunConfig) -> Augmenter:
    """Return the augmenter of a configuration, knowing nothing of the model yet."""
    from finetune.data.augmentation.augmenter import Augmenter
    from finetune.data.augmentation.pictures import PictureChanges
    from finetune.data.augmentation.sound import SoundChanges
    from finetune.data.augmentation.text import TextChanges

    pictures, sound = config.data.augment.pictures, config.data.augment.sound
    text = config.data.augment.text
    return Augmenter(
        config.task.columns,
        config.seed,
        PictureChanges(
            probability=pictures.probability,
            flip=pictures.flip,
            rotate=pictures.rotate,
            crop=pictures.crop,
            color=pictures.color,
        ),
        SoundChanges(
            probability=sound.probability,
            speed=sound.speed,
            noise=sound.noise,
            gain=sound.gain,
            mask_time=sound.mask_time,
            mask_frequency=sound.mask_frequency,
            longest_seconds=getattr(config.task, "seconds", lambda: None)()
            if config.task.processor is not None
            else None,
        ),
        TextChanges(
            probability=text.probability,
            delete=text.delete,
            swap=text.swap,
            protected=tuple(text.protected),
        ),
        sampling_rate=getattr(
            getattr(config.task.processor, "feature_extractor", config.task.processor),
            "sampling_rate",
            None,
        ),
    )


def augmenter(config: RunConfig) -> Augmenter | None:
    """Return what changes training rows, or None where nothing does; the processor is loaded."""
    found = settings(config)
    return found if found else None
