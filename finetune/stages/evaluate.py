"""Evaluate: the exported model, the untouched base and simple baselines on the same test rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune import metrics as scoring
from finetune.config.schema import RunConfig
from finetune.errors import DataError
from finetune.metrics import classification
from finetune.models.source import BaseModel
from finetune.runs import storage
from finetune.runs.folder import RunFolder
from finetune.stages import base_model, devices, reference, splits
from finetune.tasks.base import Prediction, Row, Task

if TYPE_CHECKING:
    from torch import nn

Scores = dict[str, dict[str, float]]
Answered = tuple[Sequence[Prediction], Sequence[tuple[float, float]] | None]
"""Predictions, and each row's loss and units where the task is scored by them."""


class Judge:
    """Scores predictions of one set of rows with a run's settings.

    Args:
        task: Its metrics.
        rows: Test rows.
        config: Confidence, resamples, seed, further metrics.
    """

    def __init__(self, task: Task, rows: Sequence[Row], config: RunConfig) -> None:
        known = set(scoring.names())
        self.task, self.rows = task, rows
        self.settings: dict[str, Any] = {
            "confidence": config.evaluate.confidence,
            "resamples": config.evaluate.resamples,
            "seed": config.seed,
        }
        self.metrics = task.scorers([name for name in config.evaluate.metrics if name in known])
        self.others = [name for name in config.evaluate.metrics if name not in known]
        self.trust = config.trust_remote_code
        self.references = task.references(rows)

    def score(
        self,
        predictions: Sequence[Prediction],
        losses: Sequence[tuple[float, float]] | None,
        places: Sequence[int] | None = None,
    ) -> Scores:
        """Return each metric with its interval, over all rows or over some."""
        chosen = list(range(len(self.rows))) if places is None else list(places)
        references = [self.references[i] for i in chosen]
        found: Scores = {}
        for metric in self.metrics:
            if metric.name in self.task.row_metrics:
                if losses is not None:
                    values: list[Any] = [losses[i] for i in chosen]
                    found[metric.name] = scoring.estimate(
                        metric, values, references, **self.settings
                    ).as_dict()
                continue
            judged = self.task.judged(metric.name, predictions)
            values = [judged[i] for i in chosen]
            if all(value is not None for value in values):
                found[metric.name] = scoring.estimate(
                    metric, values, references, **self.settings
                ).as_dict()
        if self.others and places is None:
            answers = [predictions[i].value for i in chosen]
            extra = scoring.score_by_name(
                self.others, answers, references, trust=self.trust, **self.settings
            )
            found |= {name: estimate.as_dict() for name, estimate in extra.items()}
        return found

    def compare(self, ours: Answered, theirs: Answered) -> dict[str, Any] | None:
        """Return the difference in the primary metric on the same rows, None where one has none."""
        metric = scoring.find(self.task.primary)
        mine, other = (self.compared(metric.name, answered) for answered in (ours, theirs))
        if mine is None or other is None:
            return None
        difference = scoring.paired_difference(
            metric, mine, other, self.references, **self.settings
        )
        return {"metric": metric.name, **difference.as_dict()}

    def compared(self, metric: str, answered: Answered) -> Sequence[Any] | None:
        """Return what a metric looks at in each row, None where a row has nothing of it."""
        predictions, losses = answered
        if metric in self.task.row_metrics:
            return losses
        judged = self.task.judged(metric, predictions)
        return judged if all(value is not None for value in judged) else None


def evaluate(run: RunFolder, config: RunConfig, base: BaseModel) -> dict[str, Any]:
    """Write eval/ and return facts for the manifest.

    Raises:
        DataError: There are no test rows.
    """
    task: Task = config.task
    device = devices.choose(config.train.device, "fp32").name
    test = splits.as_rows(splits.read(run, "test", max_rows=config.evaluate.max_rows)[:])
    if not test:
        raise DataError(
            "The test split has no rows to score.",
            fix="Give data.test=FILE, or data.split.test above 0.",
        )
    test = reference.beside(task, config, base, test, device)
    audit = storage.read_json(run.data / "audit.json")
    judge = Judge(task, test, config)
    size = config.evaluate.batch_size
    task.load_processor(run.merged)
    task.learn(audit)
    dtype = run.manifest()["stages"]["export"]["dtype"]
    answers, losses = answer(
        task, run.merged, base_model.options(config, device=device, dtype=dtype), test, size
    )
    result: dict[str, Any] = {
        "task": task.hub_tag,
        "primary_metric": task.primary,
        "greater_is_better": task.greater_is_better,
        "confidence": config.evaluate.confidence,
        "rows": {"test": len(test)},
        "test": judge.score(answers, losses),
        **strangers(task, judge, answers, losses),
        "baselines": {},
        "comparisons": {},
    }
    others: dict[str, Answered] = {}
    if config.evaluate.base_model:
        task.load_processor(base.folder)
        task.learn(audit)
        others["base_model"] = answer(
            task, base.folder, base_model.options(config, device=device), test, size
        )
    if config.evaluate.baselines:
        train = splits.as_rows(splits.read(run, "train")[:]) if task.baselines() else []
        others |= {
            name: (baseline(train, test), None) for name, baseline in task.baselines().items()
        }
    for name, (predictions, row_losses) in others.items():
        result["baselines"][name] = judge.score(predictions, row_losses)
        compared = judge.compare((answers, losses), (predictions, row_losses))
        if compared is not None:
            result["comparisons"][name] = compared
    result["slices"] = {
        column: slice_by(judge, answers, losses, column) for column in config.data.slices
    }
    result |= by_class(task, judge, answers)
    result["goal"] = goal(config, task, result["test"])
    storage.write_json(run.evaluation / "metrics.json", result)
    storage.write_jsonl(run.evaluation / "predictions.jsonl", (
        {"id": row["id"], "reference": reference, "prediction": given.value, "score": given.score}
        for row, reference, given in zip(test, judge.references, answers, strict=True)
    ))  # fmt: skip
    return {"rows": len(test)}


def answer(
    task: Task, folder: Path, options: Any, rows: Sequence[Row], size: int
) -> tuple[list[Prediction], list[tuple[float, float]] | None]:
    """Return a model's answers, and each row's loss and units where the task is scored by them."""
    model = task.load_model(folder, options).model
    predictions = task.predict(model, rows, batch_size=size)
    return predictions, row_losses(task, model, rows, size) if task.row_metrics else None


def row_losses(
    task: Task, model: nn.Module, rows: Sequence[Row], size: int
) -> list[tuple[float, float]]:
    """Return (loss summed over units, units) of each row; rows of like length go together."""
    import torch

    from finetune.tasks.base import in_batches, to_device

    features = task.encode(rows)

    def losses(chosen: list[int]) -> list[tuple[float, float]]:
        batch = to_device(task.collate([features[number] for number in chosen]), model)
        with torch.inference_mode():
            sums, counts = task.row_losses(model, batch)
        return list(zip(sums.tolist(), counts.tolist(), strict=True))

    return in_batches(features, size, losses)


def slice_by(
    judge: Judge, answers: Sequence[Prediction], losses: Any, column: str
) -> dict[str, Any]:
    """Return the scores for each value of a column."""
    places: dict[str, list[int]] = {}
    for number, row in enumerate(judge.rows):
        places.setdefault(str(row.get(column)), []).append(number)
    return {
        value: {"rows": len(chosen), **judge.score(answers, losses, chosen)}
        for value, chosen in sorted(places.items())
    }


def strangers(
    task: Task, judge: Judge, answers: Sequence[Prediction], losses: Any
) -> dict[str, Any]:
    """Return the rows whose label the model cannot know, and the scores without them."""
    if not task.labels:
        return {}
    known = [n for n, label in enumerate(judge.references) if str(label) in task.labels]
    if not known or len(known) == len(judge.references):
        return {}
    unseen = Counter(str(label) for label in judge.references if str(label) not in task.labels)
    return {
        "unseen_labels": {
            "rows": len(judge.references) - len(known),
            "labels": dict(unseen.most_common()),
            "without": judge.score(answers, losses, known),
        }
    }


def by_class(task: Task, judge: Judge, answers: Sequence[Prediction]) -> dict[str, Any]:
    """Return per-class scores and the confusion matrix, for tasks with labels."""
    if not task.labels:
        return {"per_class": None, "confusion": None}
    given = [str(prediction.value) for prediction in answers]
    matrix: Any = classification.confusion_matrix(given, judge.references, task.labels)
    classes: Mapping[str, Any] = classification.per_class(given, judge.references, task.labels)
    return {
        "per_class": {label: dict(values) for label, values in classes.items()},
        "confusion": {
            "labels": task.labels,
            "matrix": [[int(value) for value in row] for row in matrix],
        },
    }


def goal(config: RunConfig, task: Task, scores: Scores) -> dict[str, Any] | None:
    """Return whether the goal was met, None when there is none."""
    wanted = config.evaluate.goal
    if wanted.target is None:
        return None
    name = wanted.metric or task.primary
    value = scores[name]["value"]
    greater = scoring.find(name).greater_is_better
    met = value >= wanted.target if greater else value <= wanted.target
    return {"metric": name, "target": wanted.target, "value": value, "met": met}
