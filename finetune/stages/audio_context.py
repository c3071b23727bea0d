"""`model.audio_context=auto`: train on spectrograms as long as the longest training recording."""

from __future__ import annotations

import copy
import sys
from typing import TYPE_CHECKING, Any

from finetune.config.schema import RunConfig
from finetune.errors import ConfigError
from finetune.runs.folder import RunFolder
from finetune.stages import splits
from finetune.tasks.base import Task

if TYPE_CHECKING:
    from torch import nn

SPLITS = ("train", "validation")


def shortened(
    run: RunFolder, config: RunConfig, task: Task, model: nn.Module
) -> tuple[Task, dict[str, Any] | None]:
    """Return the task as it is trained, and what the manifest says of the context.

    Raises:
        ConfigError: The model hears nothing, or any length as it is.
    """
    if config.model.audio_context is None:
        return task, None
    from finetune.training import audio_context

    encoder: Any = audio_context.encoder_of(model)
    extractor = getattr(task.processor, "feature_extractor", None)
    if encoder is None or extractor is None:
        raise ConfigError(
            f"`model.audio_context={config.model.audio_context}` is given, but this model does "
            "not pad recordings to one length.",
            fix="Leave model.audio_context out.",
        )
    seconds = longest(run)
    kept = audio_context.positions(encoder, extractor, seconds)
    frames = kept * audio_context.stride_of(encoder)
    audio_context.shorten(encoder, kept)
    own = copy.copy(task)
    key = extractor.model_input_names[0]
    vars(own)["collate"] = audio_context.cutting(task.collate, key, frames)
    whole = int(encoder.max_source_positions)
    sys.stderr.write(
        f"   the encoder hears {kept} of {whole} positions while training (the longest recording "
        f"has {seconds:.1f} s); the exported model hears all of them\n"
    )
    return own, {"positions": kept, "of": whole, "longest_seconds": round(seconds, 2)}


def longest(run: RunFolder) -> float:
    """Return the seconds of the longest recording that training meets."""
    from finetune.data.media import audio_seconds

    return max(
        audio_seconds(row["audio"])
        for split in SPLITS
        for rows in splits.in_pieces(splits.read(run, split).select_columns(["audio"]))
        for row in rows
    )
