"""Cross-entropy over classes: weighted for rare ones, focal for hard rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from finetune.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from torch import Tensor

ClassWeights = Literal["auto"] | dict[str, float] | None
"""The option of a task: none, balanced by the training rows, or a weight by label."""
NAMED = 20
"""Most labels listed in a message."""


def class_weights(
    option: ClassWeights, counts: Mapping[str, int], labels: Sequence[str]
) -> list[float] | None:
    """Return the weight of each label, or None where all count alike.

    ``auto`` is n / (k · n_c), as scikit-learn's ``balanced``: every class carries as much of the
    loss as any other. A label that a mapping leaves out has weight 1.

    Args:
        option: As configured.
        counts: Training rows of each label.
        labels: In the order of the model's outputs.

    Raises:
        ConfigError: The mapping names a label that the data don't have, or a weight is not
            above 0.
    """
    if option is None or not labels:
        return None
    if option == "auto":
        there = [counts.get(label, 0) for label in labels]
        return [sum(there) / (len(labels) * rows) if rows else 1.0 for rows in there]
    problems = []
    for label, weight in option.items():
        if label not in labels:
            known = ", ".join(labels[:NAMED]) + (" …" if len(labels) > NAMED else "")
            hint = did_you_mean(label, labels) or f"; the labels are: {known}."
            problems.append(
                f"`task.class_weights` names `{label}`, which is no label of the data{hint}"
            )
        elif not weight > 0:
            problems.append(f"`task.class_weights.{label}` must be above 0, got {weight:g}.")
    if problems:
        raise ConfigError(problems)
    return [float(option.get(label, 1.0)) for label in labels]


def row_weights(labels: Tensor, weights: Sequence[float] | None) -> Tensor:
    """Return each row's weight, shape (rows,): what its loss is multiplied by and divided by."""
    import torch

    if weights is None:
        return torch.ones_like(labels)
    return torch.tensor(weights, dtype=torch.float32, device=labels.device)[labels]


def cross_entropy(
    logits: Tensor,
    labels: Tensor,
    *,
    weights: Sequence[float] | None = None,
    focal_gamma: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Return each row's loss and weight, both of shape (rows,).

    The sum of the losses over the sum of the weights is the mean loss, as in torch's own
    ``CrossEntropyLoss(weight=…)``; the weights alone divide, not the focal factor.

    Args:
        logits: Shape (rows, classes).
        labels: Shape (rows,), class numbers.
        weights: Weight of each class; None weighs all alike.
        focal_gamma: Exponent of the factor (1 - p)^γ that takes loss from rows which are already
            right (focal loss, Lin et al. 2017); 0 is plain cross-entropy.
    """
    from torch.nn import functional

    losses = functional.cross_entropy(logits.float(), labels, reduction="none")
    if focal_gamma:
        # -expm1(-loss) is 1 - p without the rounding that would make the gradient of a sure row
        # not finite for γ < 1.
        wrong = -(-losses).expm1()
        losses = wrong.clamp_min(1e-12) ** focal_gamma * losses
    share = row_weights(labels, weights)
    return (losses if weights is None else losses * share), share
