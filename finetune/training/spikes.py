"""Losses out of the ordinary: compared with the median of the steps before."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

WINDOW = 64
"""Steps that a loss is compared with."""
FEWEST = 16
"""Steps before the first judgement."""
DEVIATIONS = 10.0
"""Median deviations above the median that are still ordinary."""


@dataclass
class LossWatch:
    """Remembers recent losses and tells which one stands out."""

    recent: list[float] = field(default_factory=list)
    """Losses of the latest steps that did not stand out."""

    def usual(self, loss: float, factor: float) -> float | None:
        """Return the median of recent losses when this one is a spike, else None.

        A spike is `factor` times the median, and further above it than the noise of recent steps.
        It is not remembered; that the loss has risen for good shows once half the window agrees.

        Args:
            loss: Of this step.
            factor: At least so many times the median.
        """
        if len(self.recent) >= FEWEST:
            median = statistics.median(self.recent)
            noise = statistics.median(abs(value - median) for value in self.recent)
            if loss > factor * median and loss > median + DEVIATIONS * noise:
                # Kept at the edge of what is ordinary, so that a lasting rise is accepted in time.
                self.remember(max(self.recent))
                return median
        self.remember(loss)
        return None

    def remember(self, loss: float) -> None:
        """Add a loss to the window."""
        self.recent = [*self.recent[-(WINDOW - 1) :], loss]
