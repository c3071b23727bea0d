"""Glossary: one plain sentence for each word that a layman meets in the report."""

from __future__ import annotations

_SCORES = {
    "text-classification": "The score is the probability that the model gives its answer, up to 1.",
    "zero-shot-image-classification": "The score is how alike the model finds picture and answer, "
    "at most 1.",
    "preference": "The score is how much more training favoured the chosen answer than the "
    "rejected one: below 0, the model prefers the rejected one.",
}
_WRITTEN = (
    "The score is how sure the model is of its words: 0 is certain, −0.7 is a coin toss at "
    "each word (the mean log-probability of a token)."
)
_WRITERS = {
    "automatic-speech-recognition",
    "summarization",
    "text-generation",
    "text2text-generation",
    "translation",
}
CLASSES = (
    "Precision: of the rows given this class, the share that belongs to it. Recall: of the rows of "
    "the class, the share that was found. F1 is high only where both are."
)
_KINDS = {"key": "differs in nearly every row", "category": "few values, many times each"}


def metric(name: str) -> str:
    """Return what a metric says, as the metric itself has it; nothing of a stranger."""
    from finetune import metrics

    return metrics.find(name).description if name in metrics.names() else ""


def score(problem: str) -> str:
    """Return what the score beside an answer is, by the task's tag."""
    return _WRITTEN if problem in _WRITERS else _SCORES.get(problem, "")


def kind(name: str) -> str:
    """Return what a kind of column is, where its name does not say it."""
    return _KINDS.get(name, "")
