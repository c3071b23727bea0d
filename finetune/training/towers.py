"""A frozen tower: the part of a model that sees pictures or sound, and nothing that is trained.

What it makes of a row is the same in every epoch. It is computed once and kept; a batch then
carries it in place of the pictures, and the tower, which is given it, hands it on. Whether a model
has such a tower is found by running it on two rows: no branch on what it is called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from transformers.modeling_layers import GradientCheckpointingLayer

from finetune.tasks.base import Batch, CoupledTask, Task

if TYPE_CHECKING:
    from torch import Tensor, nn

Precision = Callable[[], AbstractContextManager[Any]]
TOLERANCE = 1e-4
"""How far the states of a row may be from those of the row alone, relative to their size, in fp32;
half precision has its own rounding."""
TRAINED = "what sees it is trained"
RANDOM = "it changes at random while training"
WHOLE = "the model's own code looks at what its frozen part is given"


@dataclass
class Tower:
    """A frozen module that is given a batch's pictures or sound, and what it returns of them."""

    name: str
    """Where it is in the model."""
    module: nn.Module
    """Itself."""
    key: str
    """What a batch calls its input."""
    args: tuple[Any, ...]
    """What it is called with, the input being `INPUT`."""
    kwargs: dict[str, Any]
    """And by name."""
    part: str | None
    """Which part of its output is used; None where it returns a tensor."""
    kind: Any
    """Type of its output."""
    shape: tuple[int, ...]
    """Of what it returns of a row. A batch carries it with a first dimension of 1, by which it is
    told from pictures and sound."""
    dtype: torch.dtype
    """Of what it returns."""

    def states(self, value: Tensor) -> Tensor:
        """Return what the tower makes of some rows' input, without a gradient."""
        with torch.no_grad():
            output = self.module(
                *(value if one is INPUT else one for one in self.args),
                **{name: value if one is INPUT else one for name, one in self.kwargs.items()},
            )
        found: Tensor = output if self.part is None else output[self.part]
        return found

    def install(self) -> None:
        """Let the module hand on what it is given, where that is its own output of before."""
        compute = self.module.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            value = self.given(args, kwargs)
            if value is None or tuple(value.shape[1:]) != (1, *self.shape):
                return compute(*args, **kwargs)
            value = value[:, 0].to(self.dtype)
            return value if self.part is None else self.kind(**{self.part: value})

        self.module.forward = forward

    def remove(self) -> None:
        """Undo `install`."""
        del self.module.forward

    def given(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return the input among what the module is called with."""
        for name, one in self.kwargs.items():
            if one is INPUT:
                return kwargs.get(name)
        places = [place for place, one in enumerate(self.args) if one is INPUT]
        return args[places[0]] if len(args) > places[0] else None


INPUT = object()
"""Stands for the input among arguments."""


def find(task: Task, model: nn.Module, batch: Batch, precision: Precision) -> Tower | str:
    """Return the frozen tower of a model, or why there is none that could be left out.

    Args:
        task: Knows batches and their loss.
        model: With what is trained marked.
        batch: Of two rows.
        precision: Opens the context in which the loss is computed.
    """
    media = [key for key, value in batch.items() if value.is_floating_point() and value.dim() > 2]
    if len(media) != 1:
        return "it sees no pictures or sound"
    key, was_training, against = media[0], model.training, TRAINED
    model.eval()
    try:
        with precision():
            towers, wanted = called_with(task, model, batch, key)
            for tower, output in towers:
                if not holds_layers(tower.module):
                    continue
                states = only_part(task, model, batch, tower, output, wanted)
                against = WHOLE
                if states is not None:
                    return reason_against(task, model, batch, tower, states) or tower
    finally:
        model.train(was_training)
    return against


def called_with(
    task: Task, model: nn.Module, batch: Batch, key: str
) -> tuple[list[tuple[Tower, dict[str, Tensor]]], tuple[Tensor, ...]]:
    """Return the modules that are given a batch's input and nothing trained, outermost first.

    Returns:
        Each with its output, and what the loss is made of.
    """
    found: list[tuple[Tower, dict[str, Tensor]]] = []
    value = batch[key]

    def note(name: str) -> Any:
        def hook(module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> None:
            shown = tuple(INPUT if one is value else one for one in args)
            named = {k: INPUT if one is value else one for k, one in kwargs.items()}
            made = {name: one.detach() for name, one in tensors(output).items()}
            parts = list(tensors(output).values())
            others = [one for one in (*shown, *named.values()) if isinstance(one, torch.Tensor)]
            given = [one for one in (*shown, *named.values()) if one is INPUT]
            if len(given) != 1 or others or not parts:
                return
            if any(one.requires_grad or len(one) != len(value) for one in parts):
                return
            kind, first = type(output), parts[0]
            shape = tuple(first.shape[1:])
            tower = Tower(name, module, key, shown, named, None, kind, shape, first.dtype)
            found.append((tower, made))

        return hook

    hooks = [
        module.register_forward_hook(note(name), with_kwargs=True)
        for name, module in model.named_modules()
    ]
    try:
        with torch.enable_grad():
            wanted = outcome(task, model, batch)
    finally:
        for hook in hooks:
            hook.remove()
    return found[::-1], tuple(part.detach() for part in wanted)


def holds_layers(module: nn.Module) -> bool:
    """Tell whether a module is worth leaving out: it has whole layers, not an embedding alone."""
    return any(isinstance(part, GradientCheckpointingLayer) for part in module.modules())


def only_part(
    task: Task,
    model: nn.Module,
    batch: Batch,
    tower: Tower,
    output: Mapping[str, Tensor],
    wanted: tuple[Tensor, ...],
) -> Tensor | None:
    """Return the one part of a tower's output that is used; None where more of it is.

    The tower is told which it is.
    """
    value = batch[tower.key]
    for name, states in sorted(output.items(), key=lambda item: item[1].numel()):
        tower.part = name or None
        tower.shape, tower.dtype = tuple(states.shape[1:]), states.dtype
        if tuple(value.shape[1:]) == (1, *tower.shape):
            continue  # nobody could tell what the module is given
        tower.install()
        try:
            with torch.no_grad():
                found = outcome(task, model, {**batch, tower.key: carried(states)})
        except Exception:  # a model that misses a part fails in its own way; the next is tried
            continue
        finally:
            tower.remove()
        if all(alike(one, other) for one, other in zip(found, wanted, strict=True)):
            return states
    return None


def alike(one: Tensor, other: Tensor) -> bool:
    """Tell whether two are the same: to the bit on a CPU, to rounding where sums have no order."""
    return torch.equal(one, other) if one.device.type == "cpu" else off(one, other) <= limit(one)


def off(one: Tensor, other: Tensor) -> float:
    """Return how far states are from others, relative to the others' size."""
    return float((one - other).float().norm() / other.float().norm())


def limit(states: Tensor) -> float:
    """Return how far states may be off, by their type."""
    return TOLERANCE if states.dtype == torch.float32 else 3e-2


def carried(states: Tensor) -> Tensor:
    """Return rows of states as a batch carries them: in fp32, which holds every half."""
    return states.float().unsqueeze(1)


def tensors(output: Any) -> dict[str, Tensor]:
    """Return the tensors of an output by name; a tensor itself has none."""
    if isinstance(output, torch.Tensor):
        return {"": output}
    if hasattr(output, "items"):
        return {name: one for name, one in output.items() if isinstance(one, torch.Tensor)}
    return {}


def reason_against(
    task: Task, model: nn.Module, batch: Batch, tower: Tower, wanted: Tensor
) -> str | None:
    """Return why a tower's states cannot stand for it while training, or None."""
    if any(getattr(part, "layerdrop", 0) for part in tower.module.modules()):
        return RANDOM
    first = {key: value[:1].clone() for key, value in batch.items()}
    model.train()
    alone = while_training(task, model, first, tower)
    apart = off(alone, wanted[:1])
    if apart <= limit(wanted):
        return None
    if alike(while_training(task, model, first, tower), alone):
        return f"its rows depend on each other ({apart:.1e})"
    return RANDOM


def while_training(task: Task, model: nn.Module, batch: Batch, tower: Tower) -> Tensor:
    """Return what a tower makes of a batch when the whole model is run to train it."""
    seen: list[Tensor] = []

    def note(module: nn.Module, args: Any, output: Any) -> None:
        del module, args
        seen.append((output if tower.part is None else output[tower.part]).detach())

    hook = tower.module.register_forward_hook(note)
    try:
        with torch.no_grad():
            outcome(task, model, {**batch, tower.key: batch[tower.key].clone()})
    finally:
        hook.remove()
    return seen[0]


def outcome(task: Task, model: nn.Module, batch: Batch) -> tuple[Tensor, ...]:
    """Return what the loss is made of."""
    if isinstance(task, CoupledTask):
        return task.embed(model, batch)
    return (task.row_losses(model, batch)[0],)
