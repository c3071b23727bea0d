"""Names: how metrics, baselines and tasks are called when people read them."""

from __future__ import annotations

_METRICS = {
    "bleu": "BLEU",
    "chrf": "chrF",
    "cer": "character error rate",
    "f1": "F1",
    "macro_f1": "macro F1",
    "micro_f1": "micro F1",
    "weighted_f1": "weighted F1",
    "macro_precision": "macro precision",
    "macro_recall": "macro recall",
    "mrr": "mean reciprocal rank",
    "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2",
    "rougeL": "ROUGE-L",
    "rougeLsum": "ROUGE-Lsum",
    "ter": "translation edit rate",
    "wer": "word error rate",
    "zero_shot_accuracy": "zero-shot accuracy",
}
_BASELINES = {
    "base_model": "untouched base model",
    "majority": "always the most frequent class",
    "most_frequent": "always the most frequent answer",
    "tfidf_logistic_regression": "TF-IDF with logistic regression",
    "copy_source": "copying the source",
    "nearest_neighbour": "answer of the nearest training row",
    "chance": "chance",
    "longer_answer": "preferring the longer answer",
}
_TASKS = {
    "text-classification": "Text classification",
    "text2text-generation": "Text to text",
    "translation": "Translation",
    "summarization": "Summarisation",
    "text-generation": "Text generation",
    "zero-shot-image-classification": "Image and text matching",
    "automatic-speech-recognition": "Speech recognition",
}
_PROBLEMS = {"preference": "Preferences"}
"""Tasks whose models the Hub files under what comes out of them."""
_STEPS = {
    "control": "Invisible characters",
    "encoding": "Wrong encodings",
    "html": "HTML remnants",
    "length": "Text length",
    "lengths": "Length in tokens",
    "markers": "Marks for missing values",
    "media": "Pictures and recordings",
    "read": "Reading",
    "split": "Splitting",
    "unicode": "Unicode forms",
    "values": "Missing and wrong values",
    "whitespace": "Blanks",
}
_FINDINGS = {
    "card": "card number",
    "comment": "HTML comment",
    "control": "control character",
    "decimal_comma": "decimal comma",
    "decimal_point": "decimal point",
    "edge": "blank at an end",
    "email": "e-mail address",
    "entity": "HTML entity",
    "exact": "exact repetition",
    "grouped_number": "grouped thousands",
    "iban": "bank account (IBAN)",
    "inconsistent": "contradicts other columns",
    "ip": "IP address",
    "missing_marker": "mark for a missing value",
    "mojibake": "garbled characters",
    "near": "near repetition",
    "not_a_number": "not a number",
    "odd_blank": "unusual blank",
    "other_column": "belongs into another column",
    "phone": "telephone number",
    "run": "run of blanks",
    "run_together": "two cells run together",
    "spelling": "other spelling",
    "tag": "HTML tag",
    "typo": "probable typo",
    "unit": "unit beside the number",
    "word": "word for “missing”",
}
# Only for the arrows in tables: the verdict takes the direction from `greater_is_better`.
_LOWER_IS_BETTER = {"loss", "perplexity", "wer", "cer", "ter", "brier", "ece", "rmse", "mae"}


def metric(name: str) -> str:
    """Return a metric's name for prose: ``wer`` is the word error rate."""
    if name.startswith("recall_at_"):
        # "recall at 1 0.188" would be read as two numbers.
        return f"recall@{name.removeprefix('recall_at_')}"
    return _METRICS.get(name, name.replace("_", " "))


def baseline(name: str) -> str:
    """Return a baseline's name for prose."""
    return _BASELINES.get(name, name.replace("_", " "))


def task(tag: str) -> str:
    """Return a task's name for a heading."""
    return (_TASKS | _PROBLEMS).get(tag, tag.replace("-", " ").capitalize())


def is_problem(tag: str) -> bool:
    """Say whether a task's own tag says more than the Hub's."""
    return tag in _PROBLEMS


def step(name: str) -> str:
    """Return the name of a step of `prepare` for a table."""
    return _STEPS.get(name, words(name))


def finding(kind: str) -> str:
    """Return what a step found, in the singular: a count stands beside it."""
    return _FINDINGS.get(kind) or shorten(kind.replace("_", " "), 40)


def words(name: str) -> str:
    """Return an identifier as words that begin like a sentence."""
    plain = shorten(name.replace("_", " "), 40)
    return plain[:1].upper() + plain[1:]


def quoted(label: object) -> str:
    """Return a label in which blanks at the ends and in runs can be seen."""
    text = str(label)
    return shorten(text, 40) if text == " ".join(text.split()) else text.replace(" ", "␣")[:40]


def lower_is_better(name: str) -> bool:
    """Say whether a metric is an error: by its last word, such as ``test_wer``."""
    return name.rsplit("_", 1)[-1].lower() in _LOWER_IS_BETTER


def shorten(text: object, length: int = 60) -> str:
    """Cut a label or a slice value that would break a table."""
    plain = " ".join(str(text).split())
    return plain if len(plain) <= length else plain[: length - 1].rstrip() + "…"
