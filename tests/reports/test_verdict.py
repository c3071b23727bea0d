"""The verdict is decided by paired intervals alone, in both directions."""

from __future__ import annotations

import pytest

from finetune.reports.numbers import Estimate
from finetune.reports.verdict import compare, headline, outcome, verdict, warnings


def result(
    value=0.9, base=0.5, simple=0.8, base_diff=(0.4, 0.35, 0.45), simple_diff=(0.1, 0.05, 0.15),
    greater=True, **changes,
):  # fmt: skip
    def difference(triple):
        return dict(zip(("difference", "low", "high"), triple, strict=True), metric="m")

    def at(number):
        return {"m": {"value": number, "low": number - 0.02, "high": number + 0.02}}

    return {
        "primary_metric": "m",
        "greater_is_better": greater,
        "confidence": 0.95,
        "rows": {"test": 500},
        "test": at(value),
        "baselines": {"base_model": at(base), "tfidf_logistic_regression": at(simple)},
        "comparisons": {
            "base_model": difference(base_diff),
            "tfidf_logistic_regression": difference(simple_diff),
        },
    } | changes


@pytest.mark.parametrize(
    ("low", "high", "greater", "expected"),
    [
        (0.01, 0.2, True, "better"),
        (-0.2, -0.01, True, "worse"),
        (-0.01, 0.2, True, "same"),
        (0.0, 0.2, True, "same"),
        (-0.2, 0.0, True, "same"),
        (0.01, 0.2, False, "worse"),
        (-0.2, -0.01, False, "better"),
        (-0.2, 0.01, False, "same"),
    ],
)
def test_the_interval_of_the_difference_decides(low, high, greater, expected):
    difference = Estimate((low + high) / 2, low, high)
    assert outcome(difference, greater_is_better=greater) == expected


def test_without_an_interval_nothing_is_claimed():
    assert outcome(Estimate(0.4), greater_is_better=True) == "untested"
    said = " ".join(each.text for each in verdict(result(comparisons={})))
    assert "no paired interval was recorded" in said
    assert "Clearly" not in said


@pytest.mark.parametrize(("rows", "said"), [(1, "1 test row cannot"), (9, "9 test rows cannot")])
def test_a_handful_of_rows_carries_no_verdict(rows, said):
    found = result(value=0.0, base_diff=(-0.5, -0.5, -0.5), rows={"test": rows})
    assert said in headline(found).text
    assert headline(found).tone == "neutral"
    told = " ".join(each.text for each in verdict(found))
    assert "Worse than" not in told
    assert "cannot tell a gain from chance" in told


@pytest.mark.parametrize(("chance", "expected"), [(0.002, "better"), (0.2, "same")])
def test_where_every_row_differs_alike_the_p_value_decides(chance, expected):
    found = result(value=1.0, base=0.0)
    found["comparisons"]["base_model"] = {
        "metric": "m", "difference": 1.0, "low": None, "high": None, "p_value": chance,
    }  # fmt: skip
    assert compare(found)[0].outcome == expected
    said = " ".join(each.text for each in verdict(found))
    assert "an interval that includes zero" not in said
    found["rows"]["test"] = 9
    assert compare(found)[0].outcome == "few"


def test_all_three_outcomes_are_said_plainly():
    better, same, worse = (
        headline(result(simple_diff=each)).text
        for each in [(0.1, 0.05, 0.15), (0.1, -0.01, 0.21), (-0.1, -0.2, -0.05)]
    )
    assert better.count("better than") == 1
    assert " and the best simple baseline" in better
    assert "but not distinguishable from the best simple baseline" in same
    # A recorded difference that contradicts the values is not believed.
    assert "not tested against the best simple baseline" in worse
    lost = headline(result(simple=0.95, simple_diff=(-0.05, -0.09, -0.01)))
    assert "but worse than the best simple baseline" in lost.text
    assert lost.tone == "bad"


def test_a_difference_taken_the_other_way_round_does_not_turn_the_verdict():
    flipped = compare(result(base_diff=(-0.4, -0.45, -0.35)))[0]
    assert flipped.outcome == "untested"
    assert flipped.difference.value == pytest.approx(0.4)


def test_lower_is_better_turns_best_baseline_and_wording():
    found = result(
        value=0.1, base=0.9, simple=0.3, greater=False,
        base_diff=(-0.8, -0.85, -0.75), simple_diff=(-0.2, -0.25, -0.15),
    )  # fmt: skip
    found["baselines"]["copy_source"] = {"m": {"value": 0.7, "low": 0.6, "high": 0.8}}
    comparisons = compare(found)
    assert [each.baseline for each in comparisons] == ["base_model", "tfidf_logistic_regression"]
    assert [each.outcome for each in comparisons] == ["better", "better"]
    assert "(lower is better)" in verdict(found)[0].text


def test_the_best_simple_baseline_is_the_opponent_not_the_weakest():
    found = result()
    found["baselines"]["majority"] = {"m": {"value": 0.1, "low": 0.0, "high": 0.2}}
    assert compare(found)[1].baseline == "tfidf_logistic_regression"


def test_the_sentence_has_value_interval_and_rows():
    assert verdict(result())[0].text == (
        "On 500 test rows, the fine-tuned model reaches m 0.900 [0.880, 0.920] "
        "(95\N{NO-BREAK SPACE}% interval)."
    )


@pytest.mark.parametrize(("met", "words"), [(True, "is met"), (False, "is not met")])
def test_the_goal_is_reported_either_way(met, words):
    goal = {"metric": "m", "target": 0.9001, "value": 0.9, "met": met}
    text = verdict(result(goal=goal))[-1].text
    assert words in text
    assert "0.9001" in text  # 0.900 would say that the goal was hit exactly
    assert "at least" in text


def test_a_missing_baseline_is_said():
    found = result()
    del found["baselines"]["base_model"]
    said = " ".join(each.text for each in verdict(found))
    assert "not compared with the untouched base model" in said


def test_nothing_measured_is_no_verdict():
    assert "no result" in verdict({})[0].text
    assert "not been evaluated" in headline({}).text


@pytest.mark.parametrize(
    ("metrics", "audit", "manifest", "words"),
    [
        ({}, {"leakage": {"exact": 3, "near": None}}, {}, "Leakage: 3 identical"),
        ({}, {"leakage": {"exact": 0, "near": 2}}, {}, "2 nearly identical"),
        ({}, {"tokens": {"truncated_rows": 7, "tokens_lost": 90}}, {}, "7 rows were cut"),
        ({}, {"tokens": {"untrainable_rows": 2}}, {}, "nothing left to learn"),
        ({}, {"label_conflicts": 4}, {}, "another label"),
        ({"rows": {"test": 99}}, {}, {}, "only 99 test rows"),
        ({"per_class": {"x": {"support": 0}}}, {}, {}, "No test row has the class “x”"),
        (
            {},
            {},
            {"stages": {"export": {"parity": {"max_abs_difference": 0.2, "tolerance": 0.1}}}},
            "more than the tolerance",
        ),
        (
            {},
            {},
            {"stages": {"export": {"parity": {"same_prediction": 0.99}}}},
            "another answer",
        ),
    ],
)
def test_each_danger_is_named(metrics, audit, manifest, words):
    (found,) = warnings(metrics, audit, manifest)
    assert words in found.text
    assert found.tone == "bad"


def test_a_sound_run_has_no_warnings():
    audit = {"leakage": {"exact": 0, "near": None}, "tokens": {"truncated_rows": 0}}
    parity = {"max_abs_difference": 1e-6, "tolerance": 1e-4, "same_prediction": 1.0}
    assert warnings(result(), audit, {"stages": {"export": {"parity": parity}}}) == []
