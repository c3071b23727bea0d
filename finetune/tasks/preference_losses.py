"""Losses of a pair of answers, by the names and formulas that TRL knows them by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

LossType = Literal[
    "sigmoid", "sigmoid_norm", "hinge", "ipo", "robust", "apo_zero", "apo_down"
]  # fmt: skip
NORMALISED = ("sigmoid_norm", "ipo")
"""Those that compare the mean log-probability of a token rather than that of the answer."""


def pair_losses(
    grown: Tensor, lengths: Tensor, *, loss_type: LossType, beta: float, label_smoothing: float
) -> Tensor:
    """Return the loss of each pair, shape (pairs,).

    Args:
        grown: By how much the log-probabilities of the chosen and the rejected answer are above
            the reference's, shape (pairs, 2).
        lengths: Tokens of the answers, shape (pairs, 2).
        loss_type: `sigmoid` is DPO (Rafailov et al. 2023), `ipo` Azar et al. 2023, `hinge` SLiC
            (Zhao et al. 2023), `robust` Chowdhury et al. 2024, `apo_…` D'Oosterlinck et al. 2024.
        beta: How dear it is to leave the reference.
        label_smoothing: Chance that a pair is the wrong way round.
    """
    from torch.nn.functional import logsigmoid, relu

    if loss_type in NORMALISED:
        grown = grown / lengths.clamp(min=1)
    margin = grown[:, 0] - grown[:, 1]
    if loss_type == "ipo":
        return (margin - 1 / (2 * beta)) ** 2
    if loss_type == "hinge":
        return relu(1 - beta * margin)
    if loss_type == "apo_zero":
        return 1 - (beta * grown[:, 0]).sigmoid() + (beta * grown[:, 1]).sigmoid()
    if loss_type == "apo_down":
        return (beta * grown[:, 0]).sigmoid() + 1 - (beta * margin).sigmoid()
    right, wrong = -logsigmoid(beta * margin), -logsigmoid(-beta * margin)
    if loss_type == "robust":
        kept = (1 - label_smoothing) * right - label_smoothing * wrong
        return kept / (1 - 2 * label_smoothing)
    return (1 - label_smoothing) * right + label_smoothing * wrong
