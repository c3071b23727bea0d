"""An encoder that is asked again about the same sound gives what it gave: for comparisons.

Before training a model is run on a few rows in more than one way, to see that nothing changes. An
encoder of sound is most of such a run, and none of these ways touches it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch import Tensor, nn


@contextlib.contextmanager
def answering(model: Any) -> Iterator[None]:
    """Let a model's encoder compute once for each input that has no mask, without gradients."""
    encoder = model.get_encoder() if getattr(model.config, "is_encoder_decoder", False) else None
    if encoder is None or encoder is model:
        yield
        return
    before = vars(encoder).get("forward")
    encoder.forward = Answers(encoder)
    try:
        yield
    finally:
        if before is None:
            del encoder.forward
        else:
            encoder.forward = before


class Answers:
    """What an encoder gave, by what it was given.

    Args:
        encoder: Not training.
    """

    def __init__(self, encoder: nn.Module) -> None:
        self.encoder, self.compute = encoder, encoder.forward
        self.known: list[tuple[tuple[Any, ...], Any]] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the encoder gives, computed or known."""
        given = (*args, *sorted(kwargs.items()))
        masked = kwargs.get("attention_mask") is not None
        if masked or self.encoder.training or torch.is_grad_enabled():
            return self.compute(*args, **kwargs)
        for others, output in self.known:
            if alike(given, others):
                return output
        output = self.compute(*args, **kwargs)
        self.known.append((given, output))
        return output


def alike(one: Any, other: Any) -> bool:
    """Tell whether two arguments are the same."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and same(one, other)
    if isinstance(one, tuple):
        is_as_long = isinstance(other, tuple) and len(one) == len(other)
        return is_as_long and all(map(alike, one, other))
    return one is other or bool(isinstance(one, (str, int, float)) and one == other)


def same(one: Tensor, other: Tensor) -> bool:
    """Tell whether two tensors are equal to the bit."""
    return one.dtype == other.dtype and one.device == other.device and bool(torch.equal(one, other))
