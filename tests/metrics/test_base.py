"""What every metric promises, found by discovery: a metric without rows in `rows.py` fails."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finetune.errors import DataError, NumericsError
from finetune.metrics import Metric, estimate
from finetune.metrics.base import divide

# the degenerate cases are decided, not computed and then hushed
pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

quick = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def draw_rows(data: st.DataObject, family: Any) -> tuple[list[Any], list[Any]]:
    rows = data.draw(st.lists(st.tuples(*family), min_size=1, max_size=12))
    return [prediction for prediction, _ in rows], [reference for _, reference in rows]


@quick
@given(data=st.data())
def test_a_metric_and_its_interval_are_finite_and_in_order_on_any_rows(
    metric: Metric, family: Any, data: st.DataObject
) -> None:
    predictions, references = draw_rows(data, family)
    found = estimate(metric, predictions, references, resamples=30)
    assert found.low <= found.value <= found.high
    json.dumps(found.as_dict(), allow_nan=False)


@quick
@given(data=st.data())
def test_the_order_of_the_rows_does_not_matter(
    metric: Metric, family: Any, data: st.DataObject
) -> None:
    predictions, references = draw_rows(data, family)
    order = data.draw(st.permutations(range(len(references))))
    shuffled = [predictions[i] for i in order], [references[i] for i in order]
    assert metric(*shuffled) == pytest.approx(metric(predictions, references), rel=1e-9, abs=1e-12)


@quick
@given(data=st.data())
def test_no_rows_score_better_than_a_perfect_model(
    metric: Metric, family: Any, perfect: Any, data: st.DataObject
) -> None:
    best = metric(*perfect)
    sign = 1 if metric.greater_is_better else -1
    assert sign * metric(*draw_rows(data, family)) <= sign * best + 1e-9


def test_statistics_have_one_row_each_and_value_keeps_the_leading_axes(
    metric: Metric, perfect: Any
) -> None:
    statistics = metric.measure(*perfect)
    assert statistics.dtype == np.float64
    assert statistics.shape[0] == len(perfect[0])
    stacked = np.broadcast_to(statistics.sum(axis=0), (3, 2, statistics.shape[1]))
    assert metric.value(stacked).shape == (3, 2)
    assert metric.value(np.zeros((4, statistics.shape[1]))).shape == (4,)
    assert np.isfinite(metric.value(np.zeros(statistics.shape[1])))


def test_every_metric_says_what_it_counts(metric: Metric) -> None:
    assert metric.description.endswith(".")


def test_as_many_predictions_as_references_are_demanded(metric: Metric, perfect: Any) -> None:
    with pytest.raises(DataError, match="2 predictions and 1 references"):
        metric(perfect[0], perfect[1][:1])
    with pytest.raises(DataError, match="no rows"):
        metric([], [])


def test_a_row_that_is_not_a_number_is_named() -> None:
    from finetune.metrics import find

    with pytest.raises(NumericsError, match="row 1"):
        find("perplexity")([(1.0, 2), (float("nan"), 2)], ["", ""])
    with pytest.raises(NumericsError, match="row 0"):
        find("expected_calibration_error")([float("nan")], [1])


def test_zero_over_zero_is_zero() -> None:
    assert divide([0, 1, 1], [0, 0, 2]).tolist() == [0, 0, 0.5]
