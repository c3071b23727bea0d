"""Layers that see no padding: every norm, linear layer and activation runs over real tokens alone.

A batch keeps its rows and its rectangular shape outside. Before the first layer of a stack the
hidden states (rows, length, width) become (1, tokens, width); after the last one they become
(rows, length, width) again, zero where there was padding; attention is that of `attention`. What is
computed for a real token is what the padded batch computes, to rounding: `reason_against` compares
the two on rows of the run itself before anything is trained, and a model that doesn't pass keeps
its padding.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import torch
from transformers.modeling_layers import GradientCheckpointingLayer

from finetune.tasks.base import Batch, CoupledTask, Task, to_device
from finetune.training import attention
from finetune.training.memory import is_out_of_memory
from finetune.training.segments import Crossed, Segments

if TYPE_CHECKING:
    from torch import Tensor, nn

    from finetune.training.rows import Rows

TOLERANCE = {torch.float32: 1e-4}
"""How far states may differ, relative to their size, by the type the model computes in."""
HALF = 3e-2
"""How far they may in half precision."""
COMPARED = 2
"""Rows that the comparison takes, of different lengths: the shortest, which fit if any do."""
LOOKED_AT = 256
"""Rows that they are chosen from."""

OTHER_STATES, OTHER_MASK = "encoder_hidden_states", "encoder_attention_mask"
"""What a decoder's layer is given of its encoder."""
NO_PADDING = "it is given no padding"

Precision = Callable[[], AbstractContextManager[Any]]


@contextlib.contextmanager
def layers() -> Iterator[None]:
    """Let the layers of models that are prepared see no padding in the block."""
    before, attention.switch.is_on = attention.switch.is_on, True
    try:
        yield
    finally:
        attention.switch.is_on = before


def prepare(task: Task, model: Any, rows: Rows, precision: Precision) -> str | None:
    """Make a model ready for `layers`, or leave it as it is and say why; see `lend`."""
    return lend(task, model, rows, precision)[1]


def lend(
    task: Task, model: Any, rows: Rows, precision: Precision
) -> tuple[Callable[[], None], str | None]:
    """Make a model ready for `layers`, or leave it as it is and say why.

    Args:
        task: Knows batches and their loss.
        model: Not yet wrapped for several ranks.
        rows: The training rows.
        precision: Opens the context in which the loss is computed.

    Returns:
        What takes it back, and the reason.
    """
    found = stacks(model)
    if not found:
        return nothing, "its layers are not those of transformers"
    if getattr(model.config, "_attn_implementation", None) != "sdpa":
        return nothing, "its attention is not SDPA"
    chosen = of_different_lengths(rows)
    if len(chosen) < 2:
        return nothing, "all rows are of one length"
    batch = to_device(task.collate(rows.fetch(chosen)), model)
    if not any(key.endswith("attention_mask") for key in batch):
        return nothing, NO_PADDING
    hooks = [
        hook
        for stack in found
        for hook in (
            *(layer.register_forward_pre_hook(enter, with_kwargs=True) for layer in stack),
            stack[-1].register_forward_hook(leave, with_kwargs=True),
        )
    ]
    biased = bound_biases(model)
    hooks += [part.register_forward_pre_hook(note_longest, with_kwargs=True) for part in biased]
    attention.choose(model, attention.NAME)

    def take_back() -> None:
        for hook in hooks:
            hook.remove()
        for module in biased:
            del module.compute_bias
        attention.choose(model, "sdpa")

    against = reason_against(task, model, batch, precision)
    if against is not None:
        take_back()
        return nothing, against
    return take_back, None


def nothing() -> None:
    """Take nothing back."""


def stacks(model: nn.Module) -> list[nn.ModuleList]:
    """Return the lists of layers in which each is given what the one before returned."""
    return [
        module
        for module in model.modules()
        if isinstance(module, torch.nn.ModuleList)
        and len(module)
        and all(isinstance(layer, GradientCheckpointingLayer) for layer in module)
    ]


def of_different_lengths(rows: Rows) -> list[int]:
    """Return a few rows, each longer than the one before."""
    first: dict[int, int] = {}
    for row in range(min(len(rows), LOOKED_AT)):
        first.setdefault(rows.lengths[row], row)
    return [first[length] for length in sorted(first)[:COMPARED]]


def reason_against(task: Task, model: nn.Module, batch: Batch, precision: Precision) -> str | None:
    """Return why the layers should see the padding, or None when it makes no difference."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad(), precision():
            wanted = outcome(task, model, batch)
            before = attention.switch.made
            with layers():
                found = outcome(task, model, batch)
    except Exception as error:  # whatever a model's own code does with a mask of its own
        if is_out_of_memory(error):
            return "there was no memory to compare"
        said = next(iter(str(error).splitlines()), "without a word")
        return f"it needs its mask ({type(error).__name__}: {said[:80]})"
    finally:
        model.train(was_training)
    if attention.switch.made == before:
        return NO_PADDING
    if len(found[-1]) != len(wanted[-1]):
        return "it gives other outputs"
    # an encoder that was not asked again has no states to compare
    pairs = [pair for part in found for pair in zip(found[part], wanted[part], strict=True)]
    apart = [distance(one, other) for one, other in pairs]
    limit = TOLERANCE.get(computed_in(model, precision), HALF)
    off = [part for part in apart if not part <= limit]  # NaN is off as well
    return f"without it, states are {off[0]:.1e} off" if off else None


def outcome(task: Task, model: nn.Module, batch: Batch) -> dict[int, list[Tensor]]:
    """Return what the loss is made of: states by the number of their stack, the losses as -1."""
    states: dict[int, list[Tensor]] = {}

    def note(number: int) -> Any:
        def hook(layer: nn.Module, args: Any, output: Any) -> None:
            del layer, args
            made = output[0] if isinstance(output, tuple) else output
            states.setdefault(number, []).append(made.double())

        return hook

    hooks = [
        stack[-1].register_forward_hook(note(number)) for number, stack in enumerate(stacks(model))
    ]
    try:
        if isinstance(task, CoupledTask):
            states[-1] = [part.double() for part in task.embed(model, batch)]
        else:
            states[-1] = [task.row_losses(model, batch)[0].double()]
    finally:
        for hook in hooks:
            hook.remove()
    return states


def distance(found: Tensor, wanted: Tensor) -> float:
    """Return how far states are apart, relative to their size; padding, of zeros, is left out."""
    if found.dim() == 3:
        real = found.abs().sum(-1) > 0
        found, wanted = found[real], wanted[real]
    return float((found - wanted).norm() / wanted.norm())


def computed_in(model: nn.Module, precision: Precision) -> torch.dtype:
    """Return the type that the model computes in."""
    kept = next(weight.dtype for weight in model.parameters() if weight.is_floating_point())
    device = next(model.parameters()).device.type
    with precision():
        return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else kept


@functools.cache
def parameters(forward: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names of the arguments of a layer's `forward`, as its class has it."""
    return tuple(inspect.signature(forward).parameters)[1:]


def bound_biases(model: nn.Module) -> list[nn.Module]:
    """Let T5's kin compute position biases for the longest sequence, not for all tokens at once.

    Returns:
        The modules whose `compute_bias` was replaced.
    """
    found = [module for module in model.modules() if callable(getattr(module, "compute_bias", 0))]
    for module in found:
        module.compute_bias = bounded(module.compute_bias)
    return found


def bounded(compute_bias: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return what computes no more than the layer at work reads."""

    def compute(query_length: int, key_length: int, *args: Any, **kwargs: Any) -> Tensor:
        longest = attention.switch.longest
        if longest is not None:
            query_length = key_length = longest
        return compute_bias(query_length, key_length, *args, **kwargs)

    return compute


def note_longest(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Keep the longest sequence of an attention in mind, also where a layer is computed again."""
    del module
    own = next(filter(None, map(segments_in, (*args, *kwargs.values()))), None)
    attention.switch.longest = own.lengths[-1] if own is not None else None


def given(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return what a layer is given, by the names of its arguments."""
    return {**dict(zip(parameters(type(layer).forward), args, strict=False)), **kwargs}


def segments_in(value: Any) -> Segments | None:
    """Return a value if it is Segments."""
    return value if isinstance(value, Segments) else None


def enter(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Take the padding out of what a layer is given, where it is not out already.

    A decoder is given two batches: its own, and the states of the encoder, which each of its
    layers projects anew.
    """
    named = given(layer, args, kwargs)
    own, other = segments_in(named.get("attention_mask")), None
    looks = named.get(OTHER_STATES) is not None
    if looks:
        if OTHER_MASK not in parameters(type(layer).forward):
            own = None  # nobody could be told that the queries have no padding
        other = segments_in(named.get(OTHER_MASK))
    if own is None and other is None:
        return None
    changed = {name: own.flat(value) for name, value in named.items()} if own else dict(named)
    if looks:
        changed[OTHER_STATES] = named[OTHER_STATES]
        if other is not None:
            changed[OTHER_STATES] = other.flat(named[OTHER_STATES])
        changed[OTHER_MASK] = Crossed(own, other)
    return (), changed


def leave(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
    """Put the padding back behind the last layer of a stack."""
    own = segments_in(given(layer, args, kwargs).get("attention_mask"))
    states = output[0] if isinstance(output, tuple) else output
    if own is None or states.shape[:2] != (1, own.tokens):
        return None
    back = own.rectangle(states)
    return (back, *output[1:]) if isinstance(output, tuple) else back
