"""Labels that are probably wrong: what a cheap model expects that has not seen the row.

Each row is judged by a linear model of the other folds; cleanlab estimates from these
probabilities how many labels are wrong, and the least likely ones are the suspects (Northcutt,
Jiang and Chuang 2021, "Confident Learning"), with those where the model is sure of another class.
A suspect is for a person to look at: the model is simpler than the task, and a row that is only
unusual looks the same to it.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

MOST_ROWS = 50_000
"""More rows find the same kinds of errors and take longer."""
MOST_WORK = 200_000_000
"""Features times classes that are looked at: about a minute on one core."""
MOST_CHARACTERS = 1_000
"""Of one text. The class of a long text shows at its beginning."""
CHARACTERS_PER_FEATURE = 3
FEWEST = 3
"""Different rows that a class needs, so that one can be judged by others."""
EPOCHS = 8
STRENGTH = 8.0
"""How freely a model of pictures or sound may follow the rows; 0.03 for 256 features."""
SURE = 0.9
"""Probability of another class from which on a row is a suspect even if cleanlab counts fewer: of
two classes it takes only those that are surer than the mean of the class."""

MOST_SUSPECTED = 0.25
"""Share of the judged rows above which the model's own mistakes are the likelier reason. With 5 %
of the labels wrong it suspects up to 15 %, on pictures (docs/label_quality.md)."""


@dataclass(frozen=True)
class LabelErrors:
    """What was found, and among how many rows."""

    suspects: list[dict[str, Any]] = field(default_factory=list)
    """``{id, given, suggested, score}``, the most suspicious first; the score is one less the
    probability of the given label."""
    rows: int = 0
    """Rows with a label and something to judge it by."""
    examined: int = 0
    """Rows that were judged: fewer when there were too many, or a class had too few."""
    sampled: bool = False
    """Whether there were too many rows, and a part stands for them."""
    undecided: int = 0
    """Rows that the model reads otherwise where they are too many to suspect any; then none is."""


def suspects(
    inputs: Sequence[str | None] | np.ndarray[Any, Any],
    labels: Sequence[str | int | None],
    ids: Sequence[str],
    *,
    seed: int,
    folds: int = 5,
    most_rows: int = MOST_ROWS,
) -> LabelErrors:
    """Find rows whose label is probably wrong.

    The same rows give the same result in any order.

    Args:
        inputs: Texts, or an array of features by row, see `finetune.data.label_features`. Empty
            texts and rows with a number that is not finite are not judged.
        labels: One label per row; rows without one are not judged.
        ids: Names of the rows.
        seed: Decides on folds and, above `most_rows`, on the sample.
        folds: In how many parts rows are judged.
        most_rows: Rows to look at; others are left out by the hash of their content.
    """
    import numpy as np

    if isinstance(inputs, np.ndarray):
        whole = np.isfinite(inputs).all(axis=1)
        contents = [row.tobytes() for row in inputs]
    else:
        whole = np.array([bool(text and text.strip()) for text in inputs], dtype=bool)
        contents = [(text or "")[:MOST_CHARACTERS].encode("utf-8", "replace") for text in inputs]
    salt = str(seed).encode()
    hashes = [blake2b(content, digest_size=16, key=salt).digest() for content in contents]
    known = [
        row for row, label in enumerate(labels) if whole[row] and label is not None and label != ""
    ]
    known.sort(key=lambda row: (hashes[row], str(labels[row]), ids[row]))
    features = sum(len(contents[row]) for row in known) / CHARACTERS_PER_FEATURE
    work = features * len({labels[row] for row in known})
    most = min(most_rows, int(len(known) * min(1, MOST_WORK / work))) if known else 0
    rows = _judgeable(known[:most], labels, hashes)
    classes = sorted({labels[row] for row in rows}, key=str)
    if len(classes) < 2:
        return LabelErrors(rows=len(known), sampled=most < len(known))
    place = {label: number for number, label in enumerate(classes)}
    given = np.array([place[labels[row]] for row in rows])
    if isinstance(inputs, np.ndarray):
        matrix: Any = inputs[rows]
    else:
        matrix = _words([str(inputs[row])[:MOST_CHARACTERS] for row in rows])
    parts = _folds([hashes[row] for row in rows], given, min(folds, len(rows)))
    chances = _out_of_fold(matrix, given, parts, len(classes), seed)
    if (chances.argmax(1) == given).mean() <= np.bincount(given).max() / len(given):
        # What knows no more than the most frequent label can suspect none.
        return LabelErrors(rows=len(known), examined=len(rows), sampled=most < len(known))
    found = _rank(given, chances)
    if len(found) > MOST_SUSPECTED * len(rows):
        return LabelErrors(
            rows=len(known),
            examined=len(rows),
            sampled=most < len(known),
            undecided=len(found),
        )
    others = chances.copy()
    others[np.arange(len(rows)), given] = -1
    return LabelErrors(
        [
            {
                "id": ids[rows[number]],
                "given": labels[rows[number]],
                "suggested": classes[int(others[number].argmax())],
                "score": round(1 - float(chances[number, given[number]]), 4),
            }
            for number in found
        ],
        rows=len(known),
        examined=len(rows),
        sampled=most < len(known),
    )


def _judgeable(rows: Sequence[int], labels: Sequence[Any], hashes: Sequence[bytes]) -> list[int]:
    """Return the rows of classes with enough different contents."""
    contents: dict[Any, set[bytes]] = defaultdict(set)
    for row in rows:
        contents[labels[row]].add(hashes[row])
    return [row for row in rows if len(contents[labels[row]]) >= FEWEST]


def _words(texts: Sequence[str]) -> Any:
    """Return TF-IDF of words and pairs of words; of characters where texts have no words twice."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    spaced = sum(text.count(" ") for text in texts) * 20 > sum(map(len, texts))
    options: dict[str, Any] = {"ngram_range": (1, 2), "token_pattern": r"(?u)\b\w+\b|[^\w\s]"}
    if not spaced:  # Chinese, Japanese, Thai; codes and names of one word.
        options = {"analyzer": "char", "ngram_range": (1, 3)}
    return TfidfVectorizer(sublinear_tf=True, **options).fit_transform(texts)


def _folds(
    hashes: Sequence[bytes], given: np.ndarray[Any, Any], folds: int
) -> np.ndarray[Any, Any]:
    """Return the fold of each row: classes evenly spread, the same content in one fold.

    A copy in another fold would vouch for its own label.
    """
    import numpy as np

    fold: dict[bytes, int] = {}
    dealt: dict[int, int] = defaultdict(int)
    for content, label in zip(hashes, given.tolist(), strict=True):
        if content not in fold:
            # Classes begin at different folds, or the first fold would have all the small ones.
            fold[content] = (dealt[label] + label) % folds
            dealt[label] += 1
    return np.array([fold[content] for content in hashes])


def _out_of_fold(
    matrix: Any, given: np.ndarray[Any, Any], parts: np.ndarray[Any, Any], classes: int, seed: int
) -> np.ndarray[Any, Any]:
    """Return the probability of each class for each row by models that have not seen it."""
    import numpy as np

    chances = np.zeros((len(given), classes))
    for part in np.unique(parts):
        judged = parts == part
        if len(np.unique(given[~judged])) < 2:
            chances[judged] = 1 / classes
            continue
        model = _model(matrix.shape[1] if isinstance(matrix, np.ndarray) else None, seed)
        model.fit(matrix[~judged], given[~judged])
        chances[np.ix_(judged, model.classes_)] = model.predict_proba(matrix[judged])
    return chances


def _model(width: int | None, seed: int) -> Any:
    """Return a linear model with probabilities.

    For texts one sweep after another of stochastic descent finds as much as the exact solution, in
    a tenth of the time: docs/label_quality.md.

    Args:
        width: Features of pictures or sound; None for words.
        seed: Order of the rows in descent.
    """
    from sklearn.linear_model import LogisticRegression, SGDClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if width is not None:
        return make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH / width, max_iter=200))
    return SGDClassifier(
        loss="log_loss", alpha=1e-5, max_iter=EPOCHS, tol=None, random_state=seed % 2**32
    )


def _rank(given: np.ndarray[Any, Any], chances: np.ndarray[Any, Any]) -> list[int]:
    """Return the rows whose label is probably wrong, the least likely label first."""
    import numpy as np
    from cleanlab.filter import find_label_issues

    confidence = chances[np.arange(len(given)), given]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of classes that no row is predicted as: no news here.
        wrong = find_label_issues(given, chances, filter_by="low_self_confidence", n_jobs=1)
    rows = np.flatnonzero((wrong | (chances.max(1) >= SURE)) & (chances.argmax(1) != given))
    return [int(row) for row in rows[np.argsort(confidence[rows], kind="stable")]]
