"""Which layers of a model are below all that is trained: found by running it, not by name."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import torch

from finetune.tasks.base import Batch, Task
from finetune.training.prefixes import IDS, Found, Prefix, parameters
from finetune.training.towers import TOLERANCE, outcome
from finetune.training.unpadded import OTHER_STATES, given, stacks

if TYPE_CHECKING:
    from torch import Tensor, nn

Precision = Callable[[], AbstractContextManager[Any]]
TRAINED = "its first layer is trained"
RANDOM = "its frozen layers drop units at random"
MORE = "the layers above need more than its states: without the rest, losses are off"


def find(task: Task, model: nn.Module, batch: Batch, precision: Precision) -> Prefix | str:
    """Return the frozen layers of a model that can be spared, or why none can.

    Args:
        task: Knows batches and their loss.
        model: With what is trained marked.
        batch: Of a few rows of different lengths.
        precision: Opens the context in which the loss is computed.
    """
    layered = stacks(model)
    found = [
        (name, host, module, depth)
        for name, module in model.named_modules()
        if any(module is stack for stack in layered)
        for host in [host_of(model, module)]
        if host is not None
        for depth in [frozen_depth(task, model, module, batch, precision)]
        if depth
    ]
    if not found:
        return TRAINED
    name, host, stack, depth = max(found, key=lambda item: item[3])
    prefix = Prefix(name, host, list(stack)[:depth])
    try:
        against = reason_against(task, model, batch, precision, prefix)
    except Exception as error:  # whatever a model's own code expects of its layers
        said = next(iter(str(error).splitlines()), "without a word")
        against = f"its layers cannot be left out ({type(error).__name__}: {said[:80]})"
    return against or prefix


def host_of(model: nn.Module, stack: nn.Module) -> nn.Module | None:
    """Return the innermost module around a stack that is given tokens."""
    around = [
        module
        for module in model.modules()
        if module is not stack
        and IDS in parameters(module)
        and any(part is stack for part in module.modules())
    ]
    return around[-1] if around else None


def frozen_depth(
    task: Task, model: nn.Module, stack: nn.Module, batch: Batch, precision: Precision
) -> int:
    """Return how many of a stack's first layers no trained weight takes part in."""
    trained: list[bool] = []

    def note(layer: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        states = output[0] if isinstance(output, tuple) else output
        looks = given(layer, args, kwargs).get(OTHER_STATES) is not None
        trained.append(states.requires_grad or looks)  # a decoder's are its encoder's as well

    hooks = [layer.register_forward_hook(note, with_kwargs=True) for layer in stack.children()]
    was_training = model.training
    model.eval()
    try:
        with torch.enable_grad(), precision():
            outcome(task, model, batch)
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    layers = len(list(stack.children()))
    if len(trained) != layers:
        return 0
    return trained.index(True) if True in trained else layers


def reason_against(
    task: Task, model: nn.Module, batch: Batch, precision: Precision, prefix: Prefix
) -> str | None:
    """Return why kept states cannot stand for the layers, or None where it makes no difference."""
    was_training = model.training
    try:
        model.train()
        with torch.no_grad(), precision():
            once, again = (behind(task, model, batch, prefix.layers[-1]) for _ in range(2))
            model.eval()
            if not (
                torch.equal(once, again)
                and torch.equal(once, behind(task, model, batch, prefix.layers[-1]))
            ):
                return RANDOM
            wanted = outcome(task, model, batch)
            prefix.install()
            try:
                kept = prefix.states(task, model, batch)
                prefix.known = {key: functools.partial(torch.clone, row) for key, row in kept}
                with prefix.sparing():
                    found = outcome(task, model, batch)
            finally:
                prefix.remove()
                prefix.known = {}
    finally:
        model.train(was_training)
    if not prefix.used:
        return "its rows cannot be told by their tokens"
    prefix.used = 0
    limit = TOLERANCE if wanted[0].dtype == torch.float32 else 3e-2
    apart = [
        float((one - other).float().norm() / other.float().norm())
        for one, other in zip(found, wanted, strict=True)
    ]
    return None if all(part <= limit for part in apart) else f"{MORE} ({max(apart):.1e})"


def below(prefix: Prefix) -> list[nn.Module]:
    """Return what a host is made of beside its layers: embeddings and their norms."""
    inside = {id(part) for layer in prefix.layers for part in layer.modules()}
    return [
        module
        for module in prefix.host.children()
        if not any(id(part) in inside for part in module.modules())
    ]


def behind(task: Task, model: nn.Module, batch: Batch, layer: nn.Module) -> Tensor:
    """Return what a layer makes of a batch."""
    seen: list[Tensor] = []

    def note(module: nn.Module, args: Any, output: Any) -> None:
        del module, args
        seen.append(output[0] if isinstance(output, tuple) else output)
        raise Found

    hook = layer.register_forward_hook(note)
    try:
        with contextlib.suppress(Found):
            outcome(task, model, batch)
    finally:
        hook.remove()
    return seen[0]
