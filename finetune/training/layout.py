"""Where a run's weights, gradients and moments lie: whole on each rank, or cut among the ranks."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from finetune.training import sharded
from finetune.training.exchange import Copies, Exchange, Shards
from finetune.training.zero import Zero

if TYPE_CHECKING:
    from torch import Tensor, nn


class Layout(Protocol):
    """What a trainer needs to know of where things lie."""

    is_whole: bool
    """Whether every rank holds the whole model."""

    def cutting(self) -> AbstractContextManager[Any]:
        """Return the context in which Accelerate wraps the model and its optimiser."""
        ...

    def precision(self) -> AbstractContextManager[Any] | None:
        """Return the context of mixed precision, or None where Accelerate sees to it."""
        ...

    def note(self, optimizer: Any) -> None:
        """Look at the optimiser before it is wrapped."""

    def exchange(self, model: nn.Module) -> Exchange:
        """Return how ranks come to one gradient."""
        ...

    def has_gradient(self, model: nn.Module) -> bool:
        """Tell whether there is a gradient to step with: not of a batch that was left out."""
        ...

    def norm(self, known: Any) -> Any:
        """Return the gradient's norm over all ranks, or what is known of it already."""
        ...

    def weights(self, model: nn.Module, *, keep: bool) -> dict[str, Tensor] | None:
        """Return the trained weights put together, or None where they are."""
        ...

    def moments(self, optimizer: Any, *, keep: bool) -> dict[str, Any]:
        """Return the optimiser's state put together, as one process would."""
        ...

    def take_up(self, state: Mapping[str, Any], optimizer: Any) -> None:
        """Give an optimiser the state that `moments` has returned."""

    def leave(self) -> None:
        """Undo what later stages of this process would trip over."""


class Whole:
    """Every rank holds everything.

    Args:
        trainer: Whose layout it is.
    """

    is_whole = True

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer

    def cutting(self) -> AbstractContextManager[Any]:
        """Return the context in which Accelerate wraps the model and its optimiser."""
        return contextlib.nullcontext()

    def precision(self) -> AbstractContextManager[Any] | None:
        """Return None: Accelerate sees to it."""
        return None

    def note(self, optimizer: Any) -> None:
        """Look at nothing."""

    def exchange(self, model: nn.Module) -> Exchange:
        """Return how ranks come to one gradient."""
        return Copies(self.trainer.accelerator, model, self.trainer.args.world_size)

    def has_gradient(self, model: nn.Module) -> bool:
        """Tell whether there is a gradient to step with: not of a batch that was left out."""
        return any(parameter.grad is not None for parameter in model.parameters())

    def norm(self, known: Any) -> Any:
        """Return what is known of it already."""
        return known

    def weights(self, model: nn.Module, *, keep: bool) -> dict[str, Tensor] | None:
        """Return None: the model has them."""
        del model, keep
        return None

    def moments(self, optimizer: Any, *, keep: bool) -> dict[str, Any]:
        """Return the optimiser's state."""
        del keep
        state: dict[str, Any] = optimizer.state_dict()
        return state

    def take_up(self, state: Mapping[str, Any], optimizer: Any) -> None:
        """Give an optimiser its state."""
        optimizer.load_state_dict(state)

    def leave(self) -> None:
        """Nothing is in the way."""


class Fsdp(Whole):
    """Each rank holds a shard of every tensor (FSDP2)."""

    is_whole = False

    def __init__(self, trainer: Any) -> None:
        super().__init__(trainer)
        optim = str(trainer.args.optim.value)
        sharded.refuse_what_no_shard_can_be_made_of(trainer.model, optim)
        plugin = trainer.accelerator.state.fsdp_plugin
        plugin.transformer_cls_names_to_wrap = sharded.blocks(trainer.model)

    def cutting(self) -> AbstractContextManager[Any]:
        """Return the context in which Accelerate wraps the model and its optimiser."""
        return sharded.shared_embeddings_left_together(self.trainer.model)

    def exchange(self, model: nn.Module) -> Exchange:
        """Return how ranks come to one gradient."""
        return Shards(self.trainer.accelerator, model, self.trainer.args.world_size)

    def weights(self, model: nn.Module, *, keep: bool) -> dict[str, Tensor] | None:
        """Return the trained weights put together."""
        return sharded.trained_weights(model, keep=keep)

    def moments(self, optimizer: Any, *, keep: bool) -> dict[str, Any]:
        """Return the optimiser's state put together."""
        state: dict[str, Any] = sharded.whole(optimizer.state_dict(), keep=keep)
        return state

    def take_up(self, state: Mapping[str, Any], optimizer: Any) -> None:
        """Give an optimiser its shards of a whole state."""
        optimizer.load_state_dict(sharded.in_shards(dict(state), optimizer))


def of(trainer: Any) -> Layout:
    """Return the layout that the launch has asked for."""
    if trainer.is_deepspeed_enabled:
        return Zero(trainer)
    return Fsdp(trainer) if trainer.is_fsdp_enabled else Whole(trainer)
