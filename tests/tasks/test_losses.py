"""Weighted and focal cross-entropy: against torch's and against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from finetune.errors import ConfigError
from finetune.tasks.losses import class_weights, cross_entropy, row_weights

LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.0, 3.0, 0.5], [1.0, 1.0, 1.0], [-2.0, 0.0, 4.0]])
LABELS = torch.tensor([0, 0, 1, 2])


@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=30))
def test_auto_gives_every_class_the_same_share_of_the_loss(counts):
    labels = [str(n) for n in range(len(counts))]
    weights = class_weights("auto", dict(zip(labels, counts, strict=True)), labels)
    shares = [weight * count for weight, count in zip(weights, counts, strict=True)]
    assert shares == pytest.approx([sum(counts) / len(counts)] * len(counts))


def test_auto_is_scikit_learn_s_balanced():
    from sklearn.utils.class_weight import compute_class_weight

    y = ["ham"] * 87 + ["spam"] * 13
    import numpy as np

    wanted = compute_class_weight("balanced", classes=np.array(["ham", "spam"]), y=y)
    found = class_weights("auto", {"spam": 13, "ham": 87}, ["ham", "spam"])
    assert found == pytest.approx(list(wanted))


def test_no_option_weighs_nothing_and_a_mapping_keeps_one_where_it_is_silent():
    assert class_weights(None, {"a": 1}, ["a"]) is None
    assert class_weights({"b": 4}, {"a": 1, "b": 2}, ["a", "b"]) == [1.0, 4.0]
    assert class_weights("auto", {}, []) is None


def test_a_label_that_the_data_lack_is_refused_with_the_one_that_may_be_meant():
    with pytest.raises(ConfigError, match="did you mean `spam`") as caught:
        class_weights({"spamm": 3.0, "ham": 0.0}, {"ham": 9, "spam": 1}, ["ham", "spam"])
    assert caught.value.exit_code == 2
    assert len(caught.value.problems) == 2, "all problems at once"


@pytest.mark.parametrize("weight", [0.0, -1.0, math.nan])
def test_a_weight_must_be_above_zero(weight):
    with pytest.raises(ConfigError, match="above 0"):
        class_weights({"ham": weight}, {"ham": 9}, ["ham"])


@pytest.mark.parametrize("weights", [None, [0.5, 2.0, 7.0]])
def test_the_mean_is_torch_s(weights):
    sums, counts = cross_entropy(LOGITS, LABELS, weights=weights)
    tensor = None if weights is None else torch.tensor(weights)
    wanted = functional.cross_entropy(LOGITS, LABELS, weight=tensor)
    torch.testing.assert_close(sums.sum() / counts.sum(), wanted)
    torch.testing.assert_close(counts, row_weights(LABELS, weights))


def test_focal_loss_is_the_formula():
    sums, counts = cross_entropy(LOGITS, LABELS, focal_gamma=2.0)
    p = LOGITS.softmax(1)[range(4), LABELS]
    torch.testing.assert_close(sums, -((1 - p) ** 2) * p.log())
    assert counts.tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("gamma", [0.3, 0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("sure", [50.0, 200.0, 1e4])
def test_the_gradient_of_a_row_that_is_surely_right_or_wrong_is_finite(gamma, sure):
    logits = torch.tensor([[sure, 0.0], [0.0, sure]], requires_grad=True)
    sums, _ = cross_entropy(logits, torch.tensor([0, 0]), focal_gamma=gamma)
    sums.sum().backward()
    assert torch.isfinite(sums).all()
    assert torch.isfinite(logits.grad).all()


def test_half_precision_logits_are_summed_in_single():
    sums, _ = cross_entropy(LOGITS.bfloat16(), LABELS, weights=[1.0, 2.0, 3.0])
    assert sums.dtype == torch.float32
