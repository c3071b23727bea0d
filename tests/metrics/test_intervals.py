"""Bootstrap intervals and paired differences."""

import time
import tracemalloc

import numpy as np
import pytest

from finetune.errors import ConfigError
from finetune.metrics import Metric, estimate, find, paired_difference, score
from finetune.metrics.base import row_mean, with_count
from finetune.metrics.intervals import resampled_sums

accuracy = find("accuracy")
mean = Metric("mean", lambda p, _: with_count(p), row_mean)


def rows_with(right: int, wrong: int) -> tuple[list[str], list[str]]:
    return ["a"] * right + ["b"] * wrong, ["a"] * (right + wrong)


def test_the_interval_of_accuracy_is_the_binomial_one() -> None:
    found = estimate(accuracy, *rows_with(160, 40), resamples=10_000)
    half = 1.96 * np.sqrt(0.8 * 0.2 / 200)
    assert found.value == 0.8
    assert found.low == pytest.approx(0.8 - half, abs=0.006)
    assert found.high == pytest.approx(0.8 + half, abs=0.006)


def test_drawing_kinds_of_rows_and_drawing_rows_agree() -> None:
    statistics = with_count(np.repeat([0.0, 1.0], [30, 70]))
    # A third column that differs for each row forbids grouping.
    apart = np.column_stack([statistics, np.arange(100.0)])
    grouped = row_mean(np.concatenate(list(resampled_sums(statistics, 4000, 0))))
    drawn = row_mean(np.concatenate(list(resampled_sums(apart, 4000, 0)))[:, :2])
    assert grouped.mean() == pytest.approx(drawn.mean(), abs=0.005)
    assert grouped.std() == pytest.approx(drawn.std(), rel=0.05)
    assert drawn.std() == pytest.approx(np.sqrt(0.3 * 0.7 / 100), rel=0.05)


@pytest.mark.parametrize("distinct", [2, 100])
def test_every_resample_draws_as_many_rows_as_there_are(distinct: int) -> None:
    statistics = with_count(np.arange(100) % distinct)
    sums = np.concatenate(list(resampled_sums(statistics, 50, 0)))
    assert (sums[:, 1] == 100).all()
    assert len(set(sums[:, 0])) > 10


@pytest.mark.parametrize("values", [[0.0, 1.0] * 20, list(np.linspace(0, 1, 40))])
def test_the_chunk_size_changes_nothing_but_the_rounding(
    monkeypatch: pytest.MonkeyPatch, values: list[float]
) -> None:
    # Matrix kernels add in an order that depends on the shape, so fractions differ in the last bit.
    whole = estimate(mean, values, values)
    monkeypatch.setattr("finetune.metrics.intervals.CHUNK", 90)
    assert estimate(mean, values, values).as_dict() == pytest.approx(whole.as_dict(), rel=1e-12)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    values = np.random.default_rng(0).normal(size=50)
    first = estimate(mean, values, values, seed=1)
    assert estimate(mean, values, values, seed=1) == first
    assert estimate(mean, values, values, seed=2) != first


def test_more_confidence_is_a_wider_interval() -> None:
    values = np.random.default_rng(0).normal(size=50)
    sure, unsure = (estimate(mean, values, values, confidence=c) for c in (0.99, 0.5))
    assert sure.low < unsure.low < unsure.high < sure.high


def test_95_of_100_intervals_hold_the_truth() -> None:
    generator = np.random.default_rng(0)
    samples = (generator.exponential(size=100) for _ in range(300))
    found = [estimate(mean, values, values, resamples=300) for values in samples]
    held = np.mean([interval.low <= 1 <= interval.high for interval in found])
    assert 0.89 <= held <= 0.98


def test_the_interval_holds_the_value_even_of_a_biased_metric() -> None:
    """A resample of 50 distinct rows has about 32 of them, so its count is always too low."""
    count = Metric("kinds", lambda p, _: np.eye(len(p)), lambda sums: (sums > 0).sum(axis=-1))
    found = estimate(count, [0] * 50, [0] * 50)
    assert found.low < 40 < found.value == found.high == 50


def test_one_row_has_an_interval_of_one_point() -> None:
    found = estimate(accuracy, ["a"], ["a"])
    assert found.as_dict() == {"value": 1.0, "low": 1.0, "high": 1.0}


def test_metrics_together_score_as_they_do_alone() -> None:
    generator = np.random.default_rng(0)
    predictions, references = generator.integers(0, 4, (2, 60))
    metrics = [find(name) for name in ("macro_recall", "accuracy", "macro_f1")]
    together = score(metrics, predictions, references)
    assert list(together) == ["macro_recall", "accuracy", "macro_f1"]
    for metric in metrics:
        assert together[metric.name] == estimate(metric, predictions, references)


def test_the_better_of_two_models_is_told_from_noise() -> None:
    references = ["a"] * 100
    better, worse = ["a"] * 90 + ["b"] * 10, ["a"] * 60 + ["b"] * 40
    found = paired_difference(accuracy, better, worse, references)
    assert found.difference == pytest.approx(0.3)
    assert 0 < found.low < 0.3 < found.high
    assert found.p_value == pytest.approx(2 / 1001)
    mirrored = paired_difference(accuracy, worse, better, references)
    assert mirrored.difference == pytest.approx(-0.3)
    assert mirrored.high < 0


def test_pairing_sees_what_two_intervals_do_not() -> None:
    """Both models fail on the same hard rows; one also fails on six easy ones."""
    references = ["a"] * 100
    first, second = ["a"] * 56 + ["b"] * 44, ["a"] * 50 + ["b"] * 50
    apart = [estimate(accuracy, predictions, references) for predictions in (first, second)]
    assert apart[0].low < apart[1].high
    assert paired_difference(accuracy, first, second, references).low > 0


def test_a_model_does_not_differ_from_itself() -> None:
    predictions, references = rows_with(7, 3)
    found = paired_difference(accuracy, predictions, predictions, references)
    assert found.as_dict() == {"difference": 0.0, "low": 0.0, "high": 0.0, "p_value": 1.0}


@pytest.mark.parametrize("rows", [1, 3, 9])
def test_a_handful_of_rows_tests_no_difference(rows: int) -> None:
    found = paired_difference(accuracy, ["b"] * rows, ["a"] * rows, ["a"] * rows)
    assert found.as_dict() == {"difference": -1.0, "low": None, "high": None, "p_value": None}


@pytest.mark.parametrize(("rows", "chance"), [(10, 2**-9), (500, 2 / 1001)])
def test_rows_that_all_differ_alike_have_no_interval_and_the_sign_test_s_p(
    rows: int, chance: float
) -> None:
    found = paired_difference(accuracy, ["a"] * rows, ["b"] * rows, ["a"] * rows)
    assert (found.difference, found.low, found.high) == (1.0, None, None)
    assert found.p_value == pytest.approx(max(chance, 2 / 1001))
    few = paired_difference(accuracy, ["a"] * 10, ["b"] * 10, ["a"] * 10, resamples=100_000)
    assert few.p_value == 2**-9


def test_without_a_true_difference_p_is_small_as_seldom_as_it_says() -> None:
    generator = np.random.default_rng(0)
    values = [
        paired_difference(mean, a, b, a, resamples=200).p_value
        for a, b in generator.normal(size=(200, 2, 60))
    ]
    assert np.mean(np.array(values) < 0.05) <= 0.1
    assert np.mean(np.array(values) < 0.5) == pytest.approx(0.5, abs=0.12)


@pytest.mark.parametrize("wrong", [{"confidence": 1.0}, {"confidence": 0}, {"resamples": 0}])
def test_options_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        estimate(accuracy, ["a"], ["a"], **wrong)  # type: ignore[arg-type]


def test_macro_f1_of_77_classes_with_1000_resamples_takes_less_than_two_seconds() -> None:
    predictions, references = np.random.default_rng(0).integers(0, 77, (2, 1000))
    started = time.process_time()
    estimate(find("macro_f1"), predictions, references, resamples=1000)
    assert time.process_time() - started < 2


def test_memory_stays_bounded_on_many_rows() -> None:
    values = np.random.default_rng(0).random(300_000)
    tracemalloc.start()
    estimate(mean, values, values, resamples=40)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The weights of forty resamples at once would be 96 MB, those of a thousand 2.4 GB.
    assert peak < 80e6


def test_a_million_rows_of_two_kinds_take_no_longer_than_counting_them() -> None:
    predictions = np.arange(1_000_000) % 2
    statistics = with_count(predictions)
    started = time.process_time()
    found = row_mean(np.concatenate(list(resampled_sums(statistics, 1000, 0))))
    assert time.process_time() - started < 2  # drawing each row takes about eight
    assert found.std() == pytest.approx(0.5 / 1000, rel=0.1)
