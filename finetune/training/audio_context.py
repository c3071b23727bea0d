"""A shorter context for sound: an encoder that hears as long as the longest recording, not 30 s.

Whisper's kin are trained on recordings padded to one length. Cutting the silence behind short ones
saves most of the encoder's work and changes the function: positions that were silence are not
there any more. It is asked for by name, therefore, holds for a whole run (so that no row's loss
depends on who is beside it), and what is exported is judged with the whole context.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from finetune.tasks.base import Batch, Features

PARTS = ("conv1", "conv2", "embed_positions", "max_source_positions")
"""What an encoder of spectrograms of one length has."""
MARGIN = 0.5
"""Seconds of silence left behind the longest recording, by which its end is heard."""


def encoder_of(model: nn.Module) -> nn.Module | None:
    """Return the module that reads spectrograms of one length, or None."""
    found = (part for part in model.modules() if all(hasattr(part, name) for name in PARTS))
    return next(found, None)


def stride_of(encoder: Any) -> int:
    """Return the frames of a spectrogram that become one position."""
    return int(encoder.conv1.stride[0] * encoder.conv2.stride[0])


def positions(encoder: Any, extractor: Any, seconds: float) -> int:
    """Return the positions that recordings of a length need, with the margin."""
    frames = (seconds + MARGIN) * extractor.sampling_rate / extractor.hop_length
    return min(int(-(-frames // stride_of(encoder))), int(encoder.max_source_positions))


def shorten(encoder: Any, kept: int) -> None:
    """Let an encoder take spectrograms of so many positions, beside those of its own length."""
    own = int(encoder.max_source_positions)

    def enter(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        value = args[0] if args else kwargs["input_features"]
        if value.shape[-1] == kept * stride_of(module):
            module.config.max_source_positions = module.embed_positions.num_embeddings = kept

    def leave(module: Any, args: Any, output: Any) -> None:
        del args, output
        module.config.max_source_positions = module.embed_positions.num_embeddings = own

    encoder.register_forward_pre_hook(enter, with_kwargs=True)
    encoder.register_forward_hook(leave, always_call=True)


def cutting(
    collate: Callable[[Sequence[Features]], Batch], key: str, frames: int
) -> Callable[[Sequence[Features]], Batch]:
    """Return a collator whose spectrograms are cut to so many frames."""

    def collated(features: Sequence[Features]) -> Batch:
        batch = collate(features)
        if key in batch and batch[key].dim() == 3:
            batch[key] = batch[key][..., :frames].contiguous()
        return batch

    return collated
