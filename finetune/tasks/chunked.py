"""Cross-entropy over a large vocabulary, a few tokens at a time: memory doesn't grow with both.

The logits of 4,096 tokens over 150,000 words are 2.5 GB, and their gradient as much again. Here no
more than a piece of them is there at any time. A frozen head's gradient by its inputs is found in
the forward pass, from the same pieces; a head that is trained computes them once more.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor, nn

WORTH = 2**25
"""Logits from which on pieces are taken: 128 MiB of single precision."""
PIECE = 2**23
"""Logits in a piece, about."""
_commutes: weakref.WeakKeyDictionary[Any, bool] = weakref.WeakKeyDictionary()


class CrossEntropy(torch.autograd.Function):
    """The cross-entropy of each row of states under a linear head, shape (rows,)."""

    @staticmethod
    def forward(
        ctx: Any, states: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor
    ) -> Tensor:
        """Compute losses, and the gradient by the states where the head is frozen.

        Args:
            ctx: Keeps what the backward pass needs.
            states: Shape (rows, width).
            weight: Shape (words, width), of the states' type.
            bias: Shape (words,), if any.
            labels: Shape (rows,).
        """
        trained = weight.requires_grad or (bias is not None and bias.requires_grad)
        at_once = states.requires_grad and not trained
        losses = torch.empty(len(states), device=states.device, dtype=torch.float32)
        gradient = torch.empty_like(states) if at_once else None
        for part in pieces(len(states), len(weight)):
            logits = functional.linear(states[part], weight, bias).float()
            wanted = labels[part, None]
            all_of_them = logits.logsumexp(1, keepdim=True)
            losses[part] = (all_of_them - logits.gather(1, wanted))[:, 0]
            if gradient is not None:
                excess = logits.sub_(all_of_them).exp_()
                excess.scatter_add_(1, wanted, torch.full_like(all_of_them, -1.0))
                gradient[part] = excess.to(weight.dtype) @ weight
        if gradient is not None:
            ctx.save_for_backward(gradient)
        else:
            ctx.save_for_backward(states, weight, bias, labels)
        ctx.at_once = at_once
        return losses

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, given: Tensor) -> Any:
        """Return the gradients by states, weight and bias."""
        if ctx.at_once:
            (gradient,) = ctx.saved_tensors
            return gradient * given[:, None].to(gradient.dtype), None, None, None
        states, weight, bias, labels = ctx.saved_tensors
        wants = ctx.needs_input_grad
        by_states = torch.empty_like(states) if wants[0] else None
        by_weight = torch.zeros_like(weight) if wants[1] else None
        by_bias = torch.zeros_like(bias) if wants[2] else None
        for part in pieces(len(states), len(weight)):
            excess = functional.linear(states[part], weight, bias).float().softmax(1)
            excess.scatter_add_(1, labels[part, None], -excess.new_ones((len(excess), 1)))
            excess = (excess * given[part, None]).to(weight.dtype)
            if by_states is not None:
                by_states[part] = excess @ weight
            if by_weight is not None:
                by_weight.addmm_(excess.T, states[part])
            if by_bias is not None:
                by_bias += excess.sum(0)
        return by_states, by_weight, by_bias, None


def pieces(rows: int, words: int) -> Iterator[slice]:
    """Yield slices of rows whose logits make about a piece."""
    size = max(1, PIECE // words)
    for start in range(0, rows, size):
        yield slice(start, start + size)


def losses(states: Tensor, head: nn.Linear, labels: Tensor) -> Tensor:
    """Return each row's cross-entropy, shape (rows,).

    Args:
        states: What the head is given, shape (rows, width).
        head: The output layer.
        labels: Shape (rows,).
    """
    device = states.device.type
    kind = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else states.dtype
    bias = head.bias.to(kind) if head.bias is not None else None
    with torch.autocast(device, enabled=False):
        found: Tensor = CrossEntropy.apply(states.to(kind), head.weight.to(kind), bias, labels)
    return found


def is_for(model: nn.Module, head: Any, inputs: Mapping[str, Tensor], rows: int) -> bool:
    """Tell whether a batch's logits are worth taking in pieces, and whether they may be.

    They may where the head is a plain layer that this rank holds whole, and where what the model
    does to its logits afterwards, such as scaling, could as well be done to the head's inputs.

    Args:
        model: Which ends in the head.
        head: Its output layer.
        inputs: Of the batch.
        rows: Tokens whose logits are wanted.
    """
    if type(head) is not torch.nn.Linear or rows * head.out_features < WORTH:
        return False
    weight = head.weight
    if hasattr(weight, "ds_id") or hasattr(weight, "full_tensor"):  # cut among ranks
        return False
    if head not in _commutes:
        _commutes[head] = ends_in(model, head, inputs)
    return _commutes[head]


def ends_in(model: nn.Module, head: nn.Linear, inputs: Mapping[str, Tensor]) -> bool:
    """Tell by two tokens of a batch whether a model's logits are what its head makes of states."""
    few = {k: v[:1, :2] if v.dim() == 2 else v[:1] for k, v in inputs.items()}
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            wanted = model(**few).logits
            with passed_through(head):
                states = model(**few).logits
            found = head(states)
    finally:
        model.train(was_training)
    return bool(torch.allclose(found.float(), wanted.float(), rtol=1e-3, atol=1e-4))


@contextlib.contextmanager
def passed_through(head: Any) -> Iterator[None]:
    """Let a layer return what it is given."""
    head.forward = lambda states: states
    try:
        yield
    finally:
        del head.forward
