"""Cross-entropy of labelled tokens, with logits for these alone.

A language model's head is its widest layer; most of its outputs are of prompts and padding, which
no loss reads. A hook hands the head the labelled places only. What a model does to its logits
afterwards (scaling, capping) it does to each place by itself, so that the result is the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


def token_losses(
    model: nn.Module, inputs: Mapping[str, Tensor], labels: Tensor
) -> tuple[Tensor, Tensor]:
    """Return each row's cross-entropy summed over labelled tokens, and their number.

    Args:
        model: Returns logits of shape (rows, tokens, vocabulary).
        inputs: What it is called with.
        labels: Shape (rows, tokens), aligned with the logits; -100 marks tokens without loss.
    """
    import torch
    from torch.nn import functional

    from finetune.tasks import chunked

    labelled = labels != -100
    inner: Any = getattr(model, "module", model)
    wanted, head = labels[labelled], head_of(inner)
    in_pieces = chunked.is_for(inner, head, inputs, len(wanted))
    with (
        head_sees(head, labelled),
        chunked.passed_through(head) if in_pieces else contextlib.nullcontext(),
    ):
        logits = model(**inputs).logits
    if logits.dim() == 3:
        logits = logits[labelled]
    if in_pieces:
        losses = chunked.losses(logits, head, wanted)
    else:
        losses = functional.cross_entropy(logits.float(), wanted, reduction="none")
    owner = labelled.nonzero()[:, 0]
    sums = torch.zeros(labels.shape[0], device=losses.device, dtype=losses.dtype).index_add(
        0, owner, losses
    )
    return sums, labelled.sum(dim=1)


def following(labels: Tensor) -> Tensor:
    """Return labels aligned with what predicts them: each is that of the token after it."""
    from torch.nn import functional

    return functional.pad(labels[:, 1:], (0, 1), value=-100)


def head_of(model: Any) -> Any:
    """Return the output layer of a model of transformers; None if it names none."""
    return model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None


@contextlib.contextmanager
def head_sees(head: Any, places: Tensor) -> Iterator[None]:
    """Let an output layer see some places only: its outputs are then of shape (places, …).

    Args:
        head: The layer; without one nothing is changed.
        places: Shape (rows, tokens), true for those it shall see.
    """
    if head is None:
        yield
        return

    def select(module: nn.Module, args: tuple[Any, ...]) -> Any:
        del module
        states = args[0]
        return (states[places], *args[1:]) if states.shape[:2] == places.shape else None

    hook = head.register_forward_pre_hook(select)
    try:
        yield
    finally:
        hook.remove()
