"""The verdict: what was gained, how sure that is and what to beware of, in plain sentences.

A comparison has three honest outcomes, decided by the paired interval of the difference on the
same test rows: the interval excludes zero on the good side (better), on the bad side (worse), or
it includes zero (not distinguishable). Where every row differs by the same there is no interval,
and the p-value decides; without either, or on a handful of rows, nothing is claimed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from finetune.reports import cautions, names
from finetune.reports.data.dangers import dangers
from finetune.reports.facts import dig, objects
from finetune.reports.numbers import (
    Estimate,
    counted,
    decimals,
    interval,
    number,
    plain,
    share,
    shared_decimals,
)

Outcome = Literal["better", "same", "worse", "untested", "few"]
Tone = Literal["good", "neutral", "bad"]

_TONES: dict[Outcome, Tone] = {
    "better": "good",
    "same": "neutral",
    "worse": "bad",
    "untested": "neutral",
    "few": "neutral",
}


@dataclass(frozen=True)
class Sentence:
    """One sentence of the verdict and how it sounds."""

    text: str
    tone: Tone = "neutral"


@dataclass(frozen=True)
class Comparison:
    """The fine-tuned model against one baseline, by the primary metric."""

    baseline: str
    outcome: Outcome
    reference: Estimate
    difference: Estimate
    rows: float | None = None

    @property
    def tone(self) -> Tone:
        """How the outcome sounds."""
        return _TONES[self.outcome]


def outcome(
    difference: Estimate,
    *,
    greater_is_better: bool,
    rows: float | None = None,
    chance: float | None = None,
    confidence: float = 0.95,
) -> Outcome:
    """Decide a comparison from the paired interval of (fine-tuned − baseline).

    Args:
        difference: The difference with its interval, if it has one.
        greater_is_better: Whether a higher value is a better model.
        rows: Test rows, where known.
        chance: The p-value, where known; decides where there is no interval.
        confidence: How sure a difference without an interval has to be.
    """
    if rows is not None and rows < cautions.TOO_FEW_ROWS:
        return "few"
    if difference.low is None or difference.high is None:
        if chance is None or not difference.value:
            return "untested"
        if chance > 1 - confidence:
            return "same"
        return "better" if (difference.value > 0) == greater_is_better else "worse"
    if difference.low <= 0 <= difference.high:
        return "same"
    return "better" if (difference.low > 0) == greater_is_better else "worse"


def compare(metrics: dict[str, Any]) -> list[Comparison]:
    """Compare with the untouched base model, then with the best simple baseline."""
    primary = str(metrics.get("primary_metric"))
    greater = metrics.get("greater_is_better") is not False
    value = Estimate.read(dig(metrics, "test", primary))
    rows = number(dig(metrics, "rows", "test"))
    known = {
        name: estimate
        for name, scores in objects(metrics.get("baselines")).items()
        if (estimate := Estimate.read(dig(scores, primary))) is not None
    }
    if value is None:
        return []
    simple = {name: estimate for name, estimate in known.items() if name != "base_model"}
    chosen = ["base_model"] if "base_model" in known else []
    if simple:
        chosen.append(_best(simple, greater))
    found = []
    for name in chosen:
        raw = dig(metrics, "comparisons", name)
        difference, believed = _difference(raw, primary, value, known[name])
        result = outcome(
            difference,
            greater_is_better=greater,
            rows=rows,
            chance=number(dig(raw, "p_value")) if believed else None,
            confidence=number(metrics.get("confidence")) or 0.95,
        )
        found.append(Comparison(name, result, known[name], difference, rows))
    return found


def headline(metrics: dict[str, Any]) -> Sentence:
    """Say in one short sentence whether fine-tuning paid off."""
    comparisons = compare(metrics)
    if Estimate.read(dig(metrics, "test", str(metrics.get("primary_metric")))) is None:
        return Sentence("The model has not been evaluated yet.")
    if not comparisons:
        return Sentence("There is nothing to compare the model with.")
    if comparisons[0].outcome == "few":
        few = counted(comparisons[0].rows, "test row")
        return Sentence(f"Too few rows to tell: {few} cannot show whether fine-tuning helped.")
    phrases = {
        "better": "clearly better than",
        "same": "not distinguishable from",
        "worse": "worse than",
        "untested": "not tested against",
    }
    groups: dict[str, list[str]] = {}
    for each in comparisons:
        groups.setdefault(phrases[each.outcome], []).append(f"the {_who(each.baseline)}")
    text = ", but ".join(f"{phrase} {' and '.join(who)}" for phrase, who in groups.items())
    tones = {each.tone for each in comparisons}
    tone: Tone = "bad" if "bad" in tones else "good" if tones == {"good"} else "neutral"
    return Sentence(f"The fine-tuned model is {text}.", tone)


def verdict(metrics: dict[str, Any]) -> list[Sentence]:
    """Return the sentences a manager needs: the result, each comparison, and the goal."""
    primary = str(metrics.get("primary_metric"))
    greater = metrics.get("greater_is_better") is not False
    value = Estimate.read(dig(metrics, "test", primary))
    if value is None:
        return [Sentence("There is no result on the test rows yet.")]
    comparisons = compare(metrics)
    places = shared_decimals([value, *(each.reference for each in comparisons)])
    rows = number(dig(metrics, "rows", "test"))
    on = f"On {counted(rows, 'test row')}, the" if rows is not None else "On the test rows, the"
    confidence = number(metrics.get("confidence")) or 0.95
    direction = "" if greater else " (lower is better)"
    level = f" ({confidence * 100:.3g}\N{NO-BREAK SPACE}% interval)" if value.uncertain else ""
    sentences = [
        Sentence(
            f"{on} fine-tuned model reaches {names.metric(primary)}{direction} "
            f"{interval(value, places)}{level}."
        )
    ]
    sentences += [_sentence(each, places) for each in comparisons]
    if not any(each.baseline == "base_model" for each in comparisons):
        sentences.append(Sentence("It was not compared with the untouched base model."))
    if not any(each.baseline != "base_model" for each in comparisons):
        sentences.append(Sentence("It was not compared with a simple baseline."))
    goal = _goal(metrics)
    return [*sentences, goal] if goal else sentences


def warnings(
    metrics: dict[str, Any], audit: dict[str, Any], manifest: dict[str, Any]
) -> list[Sentence]:
    """Return what a reader must know before trusting the figures."""
    found = [*dangers(audit), *cautions.cautions(metrics)]
    parity = objects(dig(manifest, "stages", "export", "parity"))
    difference, tolerance = (
        number(parity.get("max_abs_difference")),
        number(parity.get("tolerance")),
    )
    if difference is not None and tolerance is not None and difference > tolerance:
        found.append(
            f"The merged model differs from the trained one by {difference:.3g}, more than the "
            f"tolerance of {tolerance:.3g}."
        )
    agreed = number(parity.get("same_prediction"))
    if agreed is not None and agreed < 1:
        found.append(
            f"The merged model gives another answer than the trained one on {share(1 - agreed, 1)} "
            "of the rows compared."
        )
    return [Sentence(text, "bad") for text in found]


def _sentence(comparison: Comparison, places: int) -> Sentence:
    who = f"the {_who(comparison.baseline)} ({interval(comparison.reference, places)})"
    by = interval(comparison.difference, signed=True)
    alike = comparison.difference.low is None
    zero = "which chance can explain" if alike else "an interval that includes zero"
    text = {
        "better": f"Clearly better than {who}: difference {by}.",
        "same": f"Not distinguishable from {who}: difference {by}, {zero}.",
        "worse": f"Worse than {who}: difference {by}.",
        "untested": f"Against {who} the difference is {by}, but no paired interval was recorded, "
        "so chance is not excluded.",
        "few": f"Against {who} the difference is {by}; {counted(comparison.rows, 'row')} cannot "
        "tell a gain from chance.",
    }[comparison.outcome]
    return Sentence(text, comparison.tone)


def _goal(metrics: dict[str, Any]) -> Sentence | None:
    goal = objects(metrics.get("goal"))
    target = number(goal.get("target"))
    if target is None or not isinstance(goal.get("met"), bool):
        return None
    name = names.metric(str(goal.get("metric")))
    value = number(goal.get("value"))
    places = decimals([target, value])
    got = "" if value is None else f"; it is {plain(value, places)}"
    bound = "at most" if names.lower_is_better(str(goal.get("metric"))) else "at least"
    if goal.get("metric") == metrics.get("primary_metric"):
        bound = "at least" if metrics.get("greater_is_better") is not False else "at most"
    verb, tone = ("is met", "good") if goal["met"] else ("is not met", "bad")
    text = f"The goal of {name} {bound} {plain(target, places)} {verb}{got}."
    return Sentence(text, "good" if tone == "good" else "bad")


def _difference(
    raw: Any, primary: str, value: Estimate, reference: Estimate
) -> tuple[Estimate, bool]:
    """Return the recorded paired difference, or the bare one when it cannot be used, and which."""
    bare = Estimate(value.value - reference.value)
    recorded = Estimate.read(raw)
    if recorded is None or objects(raw).get("metric", primary) != primary:
        return bare, False
    # A difference taken the other way round would turn the verdict on its head.
    if recorded.value * bare.value < 0 and abs(recorded.value - bare.value) > 1e-9:
        return bare, False
    return recorded, True


def _best(baselines: dict[str, Estimate], greater: bool) -> str:
    ordered = sorted(baselines, key=lambda name: (baselines[name].value, name))
    return ordered[-1] if greater else ordered[0]


def _who(baseline: str) -> str:
    name = names.baseline(baseline)
    return name if baseline == "base_model" else f"best simple baseline, {name}"
