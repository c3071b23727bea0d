"""Which evaluation is the best so far where the primary metric cannot tell them apart."""

from __future__ import annotations

from collections.abc import Mapping


def wins_tie(
    metrics: Mapping[str, float], primary: str, *, best: float | None, best_loss: float | None
) -> bool:
    """Tell whether an evaluation as good as the best one takes its place: by loss, then as later.

    A share of exact answers stays 0 for long while the loss falls; strictly compared, the least
    trained weights would be kept.

    Args:
        metrics: Of this evaluation, by names that begin with ``eval_``.
        primary: The name of the metric that is compared first.
        best: Its best value before.
        best_loss: The validation loss of that evaluation; None where it is not known.
    """
    if metrics[primary] != best:
        return False
    loss = metrics["eval_loss"]
    return loss <= (float("inf") if best_loss is None else best_loss)
