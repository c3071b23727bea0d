"""Generated text: exact match, token F1, BLEU, chrF, ROUGE and perplexity.

A reference is a string, or several strings of which the best match counts.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from finetune.metrics.base import Array, Metric, divide, row_mean, with_count

LARGEST_MEAN_NLL = 700.0
"""exp() of more than 709 is infinite in float64, and JSON has no infinity."""


def _alternatives(reference: Any) -> list[str]:
    """Return the acceptable answers of one row; a row without any accepts the empty string."""
    if isinstance(reference, str):
        return [reference]
    return [str(answer) for answer in reference] or [""]


def _best_of(
    rate: Callable[[str, str], float],
) -> Callable[[Sequence[Any], Sequence[Any]], Array]:
    """Make row statistics from a rating of (prediction, reference)."""

    def statistics(predictions: Sequence[Any], references: Sequence[Any]) -> Array:
        return with_count(
            [
                max(rate(str(prediction), answer) for answer in _alternatives(reference))
                for prediction, reference in zip(predictions, references, strict=True)
            ]
        )

    return statistics


def normalized_answer(text: str) -> str:
    """Lower-case, drop punctuation and English articles, as SQuAD's own script (v1.1) does."""
    bare = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", bare).split())


def _rate_tokens(prediction: str, reference: str) -> float:
    """Return F1 of the two bags of words; two empty answers agree."""
    given, wanted = normalized_answer(prediction).split(), normalized_answer(reference).split()
    if not given or not wanted:
        return float(given == wanted)
    return 2 * sum((Counter(given) & Counter(wanted)).values()) / (len(given) + len(wanted))


def _sacrebleu_counts(scorer: Any, predictions: Sequence[Any], references: Sequence[Any]) -> Array:
    """Return sacrebleu's own counts for each row, which it too sums before it scores a corpus."""
    wanted = [_alternatives(reference) for reference in references]
    most = max((len(answers) for answers in wanted), default=1)
    streams = [
        [answers[place] if place < len(answers) else None for answers in wanted]
        for place in range(most)
    ]
    return np.asarray(
        scorer._extract_corpus_statistics([str(p) for p in predictions], streams), dtype=np.float64
    )


def _bleu_statistics(predictions: Sequence[Any], references: Sequence[Any]) -> Array:
    """Return (rows, 10): prediction length, reference length, 4 matches, 4 totals."""
    from sacrebleu.metrics import BLEU

    # `force` only silences a hint about tokenised input.
    return _sacrebleu_counts(BLEU(force=True), predictions, references)


def _bleu(sums: Array) -> Array:
    """Score a corpus as sacrebleu does: 13a tokens, orders 1 to 4, exponential smoothing.

    A corpus without one sequence of four tokens scores 0 even when it is perfect.
    """
    given, wanted, matches, totals = sums[..., 0], sums[..., 1], sums[..., 2:6], sums[..., 6:10]
    # The n-th order without any match counts as half, then a quarter … of a match.
    halvings = 2.0 ** np.cumsum(matches == 0, axis=-1)
    precisions = divide(np.where(matches > 0, matches, 1 / halvings), totals)
    brevity = np.where(given < wanted, np.exp(np.minimum(0, 1 - divide(wanted, given))), 1.0)
    defined = np.asarray((totals > 0).all(axis=-1) & (matches > 0).any(axis=-1))
    logs = np.log(np.where(defined[..., None], precisions, 1.0))
    return np.where(defined, 100 * brevity * np.exp(logs.mean(axis=-1)), 0.0)


def _chrf_statistics(predictions: Sequence[Any], references: Sequence[Any]) -> Array:
    """Return (rows, 18): for 1 to 6 characters, n-grams predicted, wanted and matched."""
    from sacrebleu.metrics import CHRF

    return _sacrebleu_counts(CHRF(), predictions, references)


def _chrf(sums: Array) -> Array:
    """Score a corpus as sacrebleu does: F with beta 2 of averaged precision and recall."""
    counts = sums.reshape(*sums.shape[:-1], 6, 3)
    given, wanted, matched = counts[..., 0], counts[..., 1], counts[..., 2]
    defined = (given > 0) & (wanted > 0)
    orders = defined.sum(axis=-1)
    precision = divide((divide(matched, given) * defined).sum(axis=-1), orders)
    recall = divide((divide(matched, wanted) * defined).sum(axis=-1), orders)
    return 100 * divide(5 * precision * recall, 4 * precision + recall)


_ROUGE = {
    "rouge1": "words",
    "rouge2": "pairs of words",
    "rougeL": "words in the same order",
}


def _rouge(kind: str) -> Metric:
    def statistics(predictions: Sequence[Any], references: Sequence[Any]) -> Array:
        from rouge_score.rouge_scorer import RougeScorer

        scorer = RougeScorer([kind], use_stemmer=False)
        return _best_of(lambda given, wanted: scorer.score(wanted, given)[kind].fmeasure)(
            predictions, references
        )

    return Metric(
        kind,
        statistics,
        row_mean,
        description=(f"How far {_ROUGE[kind]} are shared with the reference (a-z, 0-9); 1 is all."),
    )


def _likelihood_statistics(predictions: Sequence[Any], references: Sequence[Any]) -> Array:
    """Return (rows, 2): each row's summed negative log-likelihood and number of tokens."""
    del references  # the likelihood was taken of them already
    return np.asarray(predictions, dtype=np.float64).reshape(len(predictions), 2)


exact_match = Metric(
    "exact_match",
    _best_of(lambda given, wanted: float(given.strip() == wanted.strip())),
    row_mean,
    description="Share of the answers that equal their reference to the letter; 1 is all of them.",
)
token_f1 = Metric(
    "token_f1",
    _best_of(_rate_tokens),
    row_mean,
    description="How far the words are those of the reference (SQuAD's F1); 1 is all of them.",
)
bleu = Metric(
    "bleu",
    _bleu_statistics,
    _bleu,
    description="How many runs of up to four words are in the references too, as a score to 100.",
)
chrf = Metric(
    "chrf",
    _chrf_statistics,
    _chrf,
    description="How many runs of characters are shared with the references, as a score to 100.",
)
rouge1 = _rouge("rouge1")
rouge2 = _rouge("rouge2")
rougeL = _rouge("rougeL")  # noqa: N816 - the field's own name
perplexity = Metric(
    "perplexity",
    _likelihood_statistics,
    lambda sums: np.exp(np.minimum(row_mean(sums), LARGEST_MEAN_NLL)),
    greater_is_better=False,
    description="Between how many next words (tokens) the model wavers on average; 1 is certainty.",
)
