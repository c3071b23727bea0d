"""What the trainer counted; it survives in the checkpoint, so that a resumed log goes on alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from finetune.training.spikes import LossWatch


@dataclass
class Seen:
    """Counts of a run so far; callbacks read them."""

    units: float = 0.0
    """Units since the last line of the log."""
    loss: float = 0.0
    """Losses since the last line, added up."""
    steps: int = 0
    """Steps since the last line."""
    skipped: list[int] = field(default_factory=list)
    """Steps without a trainable unit."""
    not_finite: list[int] = field(default_factory=list)
    """Steps that were left out since a number was not finite."""
    halvings: int = 0
    """How often micro-batches were halved since memory had run out."""
    best_loss: float | None = None
    """Validation loss of the best evaluation."""
    watch: LossWatch = field(default_factory=LossWatch)
    """Looks out for losses out of the ordinary."""

    def count(self, loss: float, units: float) -> None:
        """Add a step."""
        self.units += units
        self.loss += loss
        self.steps += 1

    def line(self) -> float:
        """Return the mean loss since the last line, NaN where no step had one; begin the next."""
        mean = self.loss / self.steps if self.steps else float("nan")
        self.loss, self.steps = 0.0, 0
        return mean

    def state(self) -> dict[str, Any]:
        """Return the counts as plain values."""
        return asdict(self)

    def load(self, state: Mapping[str, Any]) -> None:
        """Take counts over."""
        for each in fields(self):
            if each.name == "watch":
                self.watch = LossWatch(**state.get("watch", {}))
            elif each.name in state:
                setattr(self, each.name, state[each.name])
