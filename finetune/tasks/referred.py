"""A task whose loss is relative to what the untouched base model says of the same rows."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from finetune.tasks.base import Batch, Row, Task

if TYPE_CHECKING:
    from torch import Tensor, nn

REFERENCE = "reference"
"""Key of a row, of its features and of a batch: what the base model says."""


@dataclass
class ReferredTask(Task):
    """A task with a reference model, whose numbers are computed once and travel with the rows."""

    precompute_reference: bool = True
    """Ask the base model about each row once, before training; false asks it at every step, which
    takes an adapter to switch off."""

    @property
    def needs_reference(self) -> bool:
        """Whether the loss looks at the reference at all."""
        return True

    @abstractmethod
    def say(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return what a model says of a batch, shape (rows, numbers)."""

    @abstractmethod
    def say_of(
        self, model: nn.Module, rows: Sequence[Row], *, batch_size: int
    ) -> list[list[float]]:
        """Return what a model says of raw rows, in their order."""
