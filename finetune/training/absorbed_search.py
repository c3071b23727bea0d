"""Which layers of a model look at an encoder, found by running it and compared before training."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from finetune.training import attention, fused_lora
from finetune.training.absorbed import Crossing, close, open_to
from finetune.training.towers import limit, off, outcome

if TYPE_CHECKING:
    from torch import Tensor

    from finetune.tasks.base import Batch, Task

Precision = Callable[[], AbstractContextManager[Any]]


def prepare(task: Task, model: Any, batch: Batch, precision: Precision) -> tuple[int, str | None]:
    """Let a model's cross-attention look at its encoder's states, where that gives the same.

    Args:
        task: Knows batches and their loss.
        model: Not yet wrapped for several ranks.
        batch: A few rows.
        precision: Opens the context in which the loss is computed.

    Returns:
        In how many layers, and why in none or not in all.
    """
    implementation = getattr(model.config, "_attn_implementation", None)
    if implementation not in ("sdpa", attention.NAME):
        return 0, "its attention is not SDPA"
    found: list[Crossing] = []
    reasons: dict[str, None] = {}
    was_training = model.training
    model.eval()
    attention.choose(model, attention.NAME)
    try:
        with torch.no_grad(), precision(), watched(model, found, reasons):
            outcome(task, model, batch)
    finally:
        model.train(was_training)
        if not found:
            attention.choose(model, implementation)
    for crossing in found:
        crossing.module.register_forward_pre_hook(open_to, with_kwargs=True)
        crossing.module.register_forward_hook(close, always_call=True)
    if not found and not reasons:
        return 0, "nothing in it looks at an encoder"
    return len(found), next(iter(reasons), None)


@contextlib.contextmanager
def watched(model: nn.Module, found: list[Crossing], reasons: dict[str, None]) -> Iterator[None]:
    """Collect the crossings of a model that runs in the block, and why others are none."""
    called: dict[int, list[tuple[nn.Module, Tensor]]] = {}
    hooks = []

    def begin(module: nn.Module, args: Any) -> None:
        del args
        called[id(module)] = []

    def note(parent: nn.Module) -> Any:
        def hook(layer: nn.Module, args: Any) -> None:
            called.setdefault(id(parent), []).extend((layer, states) for states in args[:1])

        return hook

    def end(module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        pair = two_of_one(called.pop(id(module)), (*args, *kwargs.values()))
        if pair is None:
            return
        crossing = Crossing(module, *pair)
        against = reason_against(crossing, args, kwargs, output)
        if against is None:
            found.append(crossing)
        else:
            reasons[against] = None

    for module in model.modules():
        layers = [layer for layer in module.children() if hasattr(layer, "out_features")]
        if len(layers) > 2 and not isinstance(module, nn.ModuleList):
            hooks.append(module.register_forward_pre_hook(begin))
            hooks.append(module.register_forward_hook(end, with_kwargs=True))
            hooks += [layer.register_forward_pre_hook(note(module)) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def two_of_one(
    calls: list[tuple[nn.Module, Tensor]], given: tuple[Any, ...]
) -> tuple[nn.Module, nn.Module] | None:
    """Return the two layers that project one tensor that a module is given, one having another.

    Self-attention projects one tensor three times, a gated layer one twice and no other.
    """
    projects = [
        [layer for layer, states in calls if states is value]
        for value in given
        if isinstance(value, torch.Tensor) and value.dim() == 3
    ]
    pairs = [layers for layers in projects if len(layers) == 2]
    if len(pairs) == 1 and any(len(layers) == 1 for layers in projects):
        return pairs[0][0], pairs[0][1]
    return None


def reason_against(
    crossing: Crossing, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
) -> str | None:
    """Return why a module should project all states, or None, having let it not do so."""
    for layer in (crossing.key, crossing.value):
        against = unlike(layer)
        if against is not None:
            return against
    wanted = first(output)
    crossing.install()
    against = ""
    for crossing.is_short in (True, False):
        try:
            again = first(looking(crossing, args, kwargs))
        except Exception as error:  # whatever a model's own code does with keys and values
            against = f"it needs its keys and values ({type(error).__name__})"
            continue
        apart = off(again, wanted)
        if apart <= limit(wanted):
            return None
        against = f"its outputs are {apart:.1e} off"
    crossing.remove()
    return against


def looking(crossing: Crossing, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return what a module gives when it looks at the states, whether that pays or not.

    Raises:
        ValueError: It did not ask attention.
    """
    asked = []

    def pays(query: Tensor) -> bool:
        asked.append(query)
        return True

    uncached = {name: None for name in kwargs if "past" in name}  # it would keep placeholders
    vars(crossing)["pays"] = pays
    open_to(crossing.module, args, {**kwargs, **uncached})
    try:
        output = crossing.module.forward(*args, **{**kwargs, **uncached})
    finally:
        del vars(crossing)["pays"]
        crossing.is_open, crossing.states = False, None
    if not asked:
        raise ValueError("attention was not asked")
    return output


def first(output: Any) -> Tensor:
    """Return the states among what an attention layer gives."""
    found: Tensor = output[0] if isinstance(output, tuple) else output
    return found


def unlike(layer: nn.Module) -> str | None:
    """Return why a layer's matrix is not known here."""
    if type(layer) is nn.Linear:
        is_plain = type(layer.weight) is nn.Parameter and "forward" not in vars(layer)
        return None if is_plain else "its projections are of a kind of their own"
    from peft.tuners.lora import LoraLayer

    if not isinstance(layer, LoraLayer):
        return f"{type(layer).__name__} is not known here"
    return fused_lora.reason_against(layer)
