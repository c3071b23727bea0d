"""The Task: what a problem is, from columns to loss to scores; one abstract class."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from finetune.data.kinds import Kind

if TYPE_CHECKING:
    from torch import Tensor, nn

    from finetune.metrics.base import Metric
    from finetune.metrics.retrieval import AnyRank
    from finetune.models.load import Loaded, LoadOptions

Row = Mapping[str, Any]
"""Canonical columns of one row, raw."""
Features = dict[str, Any]
"""Model inputs of one row, as lists; ``length`` and ``n_tokens`` are bookkeeping."""
Batch = dict[str, "Tensor"]
"""Model inputs of several rows, padded."""
Baseline = Callable[[Sequence[Row], Sequence[Row]], list["Prediction"]]
"""(training rows, test rows) → a prediction for each test row."""


class Prediction(NamedTuple):
    """What a model says of one row."""

    value: Any
    """The answer, in the terms of the data: a label, a text, a rank."""
    score: float | None = None
    """How sure: a probability, a similarity or a mean token log-probability."""
    rank: int | AnyRank | None = None
    """Place of the right answer among all candidates, 1-based, when there are candidates."""


@dataclass
class Task(ABC):
    """A problem. Its options are its fields; what it learns from the data is not.

    A subclass holds no configuration, reads no file but through its processor, and never looks at
    a model's name. The contract tests in tests/contracts run on every subclass.
    """

    tag: ClassVar[str]
    """The Hub's pipeline tag."""
    columns: ClassVar[Mapping[str, Kind]]
    """Canonical columns and their kinds."""
    auto_class: ClassVar[str]
    """The class of plain transformers that loads the merged model."""
    lazy: ClassVar[bool] = False
    """Whether rows are encoded when a batch is made (pictures, sound), not before training."""
    trains: ClassVar[bool] = True
    """Whether there is anything to train."""
    least_batch: ClassVar[int] = 1
    """Fewest rows of a global batch that anything is learnt from."""
    divisible: ClassVar[str | None] = None
    """Column that may be cut into several rows where it is too long; None if none may."""
    row_metrics: ClassVar[Sequence[str]] = ()
    """Metrics computed from each row's loss and units, such as perplexity, from no prediction."""

    labels: list[str] = field(default_factory=list, init=False)
    """Label names in the order of the model's outputs, learnt from the training rows."""
    processor: Any = field(default=None, init=False, repr=False, compare=False)
    """Tokenizer or processor, once loaded."""

    # -- what it is scored by ------------------------------------------------------------------

    @property
    @abstractmethod
    def primary(self) -> str:
        """Name of the metric that chooses the checkpoint and carries the verdict."""

    @property
    @abstractmethod
    def scored_by(self) -> Sequence[str]:
        """Names of all metrics, the primary one first."""

    @property
    def hub_tag(self) -> str:
        """Pipeline tag for the model card."""
        return self.tag

    def scorers(self, extra: Sequence[str] = ()) -> list[Metric]:
        """Return the metrics of this task and further ones by name."""
        from finetune import metrics  # numpy, which a configuration error can do without

        return [metrics.find(name) for name in dict.fromkeys([*self.scored_by, *extra])]

    @property
    def greater_is_better(self) -> bool:
        """Whether a larger primary metric is better."""
        from finetune import metrics

        return metrics.find(self.primary).greater_is_better

    # -- data and model ------------------------------------------------------------------------

    def learn(self, audit: Mapping[str, Any]) -> None:
        """Take from the audit what the model must know, such as label names."""
        # A label that the test alone has is no class of the model.
        classes = (audit.get("class_splits") or {}).get("train") or audit.get("classes")
        if classes:
            self.labels = sorted(classes, key=natural)

    @abstractmethod
    def load_processor(self, folder: Path) -> Any:
        """Load the tokenizer or processor from a model folder, keep it, and return it."""

    @abstractmethod
    def load_model(self, folder: Path, options: LoadOptions) -> Loaded:
        """Load the model with this task's head from a base or merged folder."""

    def save_model(self, model: nn.Module, folder: Path) -> None:
        """Write a merged model so that its plain class loads it."""
        model.save_pretrained(str(folder))
        self.processor.save_pretrained(str(folder))

    # -- from rows to loss ---------------------------------------------------------------------

    @abstractmethod
    def encode(self, rows: Sequence[Row]) -> list[Features]:
        """Turn raw rows into model inputs.

        Each row's features hold ``length`` (what batches are balanced by) and, for text,
        ``n_tokens`` (its length before truncation).
        """

    def measure(self, rows: Sequence[Row]) -> list[Features]:
        """Return rows' bookkeeping before training: lengths, and whether a row is ``overlong``.

        A lazy task measures without decoding; for the others this is `encode`.
        """
        return self.encode(rows)

    @abstractmethod
    def collate(self, features: Sequence[Features]) -> Batch:
        """Pad the features of several rows to tensors."""

    @abstractmethod
    def row_losses(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the loss of each row summed over its units, and each row's number of units.

        Both have shape (rows,). The trainer alone divides: by the units of the global batch.
        """

    def units(self, batch: Batch) -> float:
        """Return the units of a training batch, without running the model."""
        labels = batch["labels"]
        return int((labels != -100).sum())

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the loss of a batch summed over its units, and the number of units."""
        sums, counts = self.row_losses(model, batch)
        return sums.sum(), counts.sum()

    # -- from rows to answers ------------------------------------------------------------------

    @abstractmethod
    def predict(
        self, model: nn.Module, rows: Sequence[Row], *, batch_size: int = 32
    ) -> list[Prediction]:
        """Answer raw rows, in their order: evaluation, serving and notebooks all use this."""

    @abstractmethod
    def references(self, rows: Sequence[Row]) -> list[Any]:
        """Return the right answers of rows that have them."""

    def score(
        self, predictions: Sequence[Prediction], references: Sequence[Any]
    ) -> dict[str, float]:
        """Return every metric's value."""
        return {
            metric.name: metric(self.judged(metric.name, predictions), references)
            for metric in self.scorers()
            if metric.name not in self.row_metrics
        }

    def judged(self, metric: str, predictions: Sequence[Prediction]) -> list[Any]:
        """Return what a metric looks at in each prediction: its value, or as a task says."""
        del metric
        return [prediction.value for prediction in predictions]

    def baselines(self) -> dict[str, Baseline]:
        """Return what is simpler than fine-tuning, by name."""
        return {}

    def profile(
        self, rows: Sequence[Row], predictions: Sequence[Prediction]
    ) -> dict[str, list[float]]:
        """Return numbers of inputs and outputs to watch for drift, one list over the rows each."""
        del rows
        scores = [p.score for p in predictions if p.score is not None]
        return {"score": scores} if scores else {}


class CoupledTask(Task):
    """A task whose loss couples all rows of the global batch, as contrast does.

    The trainer embeds every micro-batch of every rank, asks for the loss of all embeddings
    together, and sends its gradient back through each micro-batch (GradCache, Gao et al. 2021).
    """

    least_batch: ClassVar[int] = 2

    @abstractmethod
    def embed(self, model: nn.Module, batch: Batch) -> tuple[Tensor, ...]:
        """Return the embeddings of a batch, each of shape (rows, size)."""

    @abstractmethod
    def coupled_loss(
        self, model: nn.Module, embeddings: tuple[Tensor, ...], group: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the loss of the whole global batch, summed over its units, and their number.

        Args:
            model: For parameters of the loss itself, such as a temperature.
            embeddings: Those of `embed`, of all rows.
            group: Shape (rows,); rows of equal value mean the same and are not contrasted.
        """

    @abstractmethod
    def groups(self, batch: Batch) -> Tensor:
        """Return for each row of a batch a number that is equal for rows that mean the same."""


def natural(text: str) -> tuple[Any, ...]:
    """Sort key under which label 10 comes after label 9."""
    return (0, float(text), text) if text.lstrip("-").isdigit() else (1, 0.0, text)


def options_of(task: Task) -> dict[str, Any]:
    """Return a task's options as plain values."""
    return {item.name: getattr(task, item.name) for item in dataclasses.fields(task) if item.init}


def in_batches(
    features: Sequence[Features], batch_size: int, answer: Callable[[list[int]], list[Any]]
) -> list[Any]:
    """Answer features in batches of similar length and return the answers in the given order."""
    order = sorted(range(len(features)), key=lambda i: (-features[i].get("length", 0), i))
    answers: list[Any] = [None] * len(features)
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        for index, value in zip(chosen, answer(chosen), strict=True):
            answers[index] = value
    return answers


def pad(sequences: Sequence[Sequence[int]], value: int, *, left: bool = False) -> Tensor:
    """Pad integer sequences to a tensor of shape (rows, longest)."""
    import torch

    longest = max((len(sequence) for sequence in sequences), default=0)
    rows = []
    for sequence in sequences:
        filler = [value] * (longest - len(sequence))
        rows.append([*filler, *sequence] if left else [*sequence, *filler])
    return torch.tensor(rows, dtype=torch.long)


def mask(sequences: Sequence[Sequence[int]], *, left: bool = False) -> Tensor:
    """Return the attention mask of `pad`: by length, never by a padding token's id."""
    return pad([[1] * len(sequence) for sequence in sequences], 0, left=left)


def to_device(batch: Batch, model: nn.Module) -> Batch:
    """Move a batch to where a model's weights are."""
    device = next(model.parameters()).device
    return {key: value.to(device) for key, value in batch.items()}
