"""What is simpler than fine-tuning: answers for the test rows from the training rows alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from finetune.tasks.base import Baseline, Prediction, Row

TFIDF_ROWS = 20_000
"""Training rows a classical baseline looks at; more change little and take long."""


def majority(column: str) -> Baseline:
    """Always answer the most frequent value of a column; ties by name."""

    def answer(train: Sequence[Row], test: Sequence[Row]) -> list[Prediction]:
        counts = Counter(str(row[column]) for row in train)
        value, count = min(counts.items(), key=lambda item: (-item[1], item[0]))
        return [Prediction(value, count / len(train)) for _ in test]

    return answer


def tfidf_logistic_regression(text: str, label: str) -> Baseline:
    """Word and bigram TF-IDF with logistic regression, the classical way."""

    def answer(train: Sequence[Row], test: Sequence[Row]) -> list[Prediction]:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        train = train[:TFIDF_ROWS]
        labels = [str(row[label]) for row in train]
        if len(set(labels)) < 2:
            return majority(label)(train, test)
        vectorizer = TfidfVectorizer(
            ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b|[^\w\s]"
        )
        model = make_pipeline(vectorizer, LogisticRegression(C=10.0, max_iter=1000))
        model.fit([str(row[text]) for row in train], labels)
        probabilities = model.predict_proba([str(row[text]) for row in test])
        return [
            Prediction(str(model.classes_[row.argmax()]), float(row.max())) for row in probabilities
        ]

    return answer


def copy(column: str) -> Baseline:
    """Answer the input itself."""

    def answer(train: Sequence[Row], test: Sequence[Row]) -> list[Prediction]:
        del train
        return [Prediction(str(row[column])) for row in test]

    return answer


def nearest_neighbour(text: str, target: str) -> Baseline:
    """Answer what the most similar training input was answered with, by character TF-IDF."""

    def answer(train: Sequence[Row], test: Sequence[Row]) -> list[Prediction]:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.neighbors import NearestNeighbors

        train = train[:TFIDF_ROWS]
        vectorizer = TfidfVectorizer(
            analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True, min_df=1
        )
        known = vectorizer.fit_transform([str(row[text]) or " " for row in train])
        index = NearestNeighbors(n_neighbors=1, metric="cosine", algorithm="brute").fit(known)
        distances, places = index.kneighbors(vectorizer.transform([str(row[text]) for row in test]))
        return [
            Prediction(str(train[int(place)][target]), float(1 - distance))
            for distance, place in zip(distances[:, 0], places[:, 0], strict=True)
        ]

    return answer


def chance(column: str) -> Baseline:
    """Choose blindly among the different values of a column; scored by expectation, not by a draw.

    A draw has luck: of 64 rows, where one right answer is expected, a third of all draws has none.
    """

    def answer(train: Sequence[Row], test: Sequence[Row]) -> list[Prediction]:
        from finetune.metrics.retrieval import AnyRank

        del train
        values = sorted({str(row[column]) for row in test})
        guess = AnyRank(len(values))
        # The value is for those who look at answers alone: one of them is as good as another.
        return [Prediction(values[0], 1 / len(values), rank=guess) for _ in test]

    return answer
