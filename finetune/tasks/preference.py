"""Direct preference optimisation: the chosen answer more likely, the rejected one less."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from finetune.config.bounds import bounded
from finetune.data import preferences
from finetune.data.kinds import Kind, Text, Turns
from finetune.tasks import chat, pairs
from finetune.tasks.base import (
    Baseline,
    Batch,
    Features,
    Prediction,
    Row,
    in_batches,
    to_device,
)
from finetune.tasks.labelled import following, token_losses
from finetune.tasks.preference_losses import LossType, pair_losses
from finetune.tasks.referred import REFERENCE, ReferredTask

if TYPE_CHECKING:
    from torch import Tensor, nn

    from finetune.models.load import Loaded, LoadOptions

CHOSEN, REJECTED, NEITHER = "chosen", "rejected", "neither"


@dataclass
class Preference(ReferredTask):
    """Two answers to one question, of which one is better.

    A batch holds two sequences for each pair, one after the other: what was asked with the chosen
    answer, and with the rejected one. A unit is a pair.

    What is predicted is which answer the model prefers: whose log-probability is above the
    reference's by more, where the row carries what the reference says (in training, and in the
    stage that evaluates); of a row without it, whose log-probability is higher. Relative to itself
    the untouched base model prefers neither.
    """

    tag: ClassVar[str] = "preference"
    columns: ClassVar[Mapping[str, Kind]] = {
        "prompt": Turns(required=False),
        "chosen": Turns(),
        "rejected": Turns(),
        "system": Text(required=False),
    }
    auto_class: ClassVar[str] = "AutoModelForCausalLM"
    row_metrics: ClassVar[Sequence[str]] = ("preference_loss",)

    beta: float = bounded(0.1, above=0.0)
    """How dear it is to leave the reference: the higher, the closer the model stays to it."""
    loss_type: LossType = "sigmoid"
    """What is minimised, by TRL's names; sigmoid is DPO."""
    label_smoothing: float = bounded(0.0, low=0.0, high=0.49)
    """Chance that a pair is the wrong way round; not for hinge, ipo and apo."""
    rpo_alpha: float = bounded(0.0, low=0.0)
    """Weight of the chosen answer's mean token loss, beside; 0 leaves it out."""
    reference_free: bool = False
    """Leave the reference out, as if it found all answers equally likely."""
    share_prompt: bool = True
    """Let what was asked pass the layers once for both answers, where that makes no difference."""
    max_length: int | None = bounded(low=2)
    """Tokens of what was asked with an answer; null is the model's limit."""
    primary_metric: str = "preference_accuracy"
    """Chooses the checkpoint and carries the verdict."""

    config_limit: int | None = field(default=None, init=False)

    @property
    def hub_tag(self) -> str:
        """What comes out is a model that generates text."""
        return "text-generation"

    @property
    def primary(self) -> str:
        """The chosen metric."""
        return self.primary_metric

    @property
    def scored_by(self) -> Sequence[str]:
        """Accuracy, margin and loss."""
        return list(
            dict.fromkeys(
                [self.primary_metric, "preference_accuracy", "reward_margin", "preference_loss"]
            )
        )

    @property
    def needs_reference(self) -> bool:
        """Whether the loss looks at the reference."""
        return not self.reference_free

    # -- model ---------------------------------------------------------------------------------

    def load_processor(self, folder: Path) -> Any:
        """Load the tokenizer with a chat template, its own or the default."""
        from finetune.models.load import read_config
        from finetune.models.processor import load_tokenizer, token_limit

        self.processor = load_tokenizer(folder)
        chat.prepare_tokenizer(self.processor)
        self.config_limit = token_limit(self.processor, read_config(folder))
        return self.processor

    def load_model(self, folder: Path, options: LoadOptions) -> Loaded:
        """Load the causal language model."""
        from transformers import AutoModelForCausalLM

        from finetune.models.load import load

        return load(folder, AutoModelForCausalLM, options)

    def limit(self) -> int | None:
        """Return the most tokens a sequence may have."""
        return self.max_length or self.config_limit

    # -- from rows to loss ---------------------------------------------------------------------

    def encode(self, rows: Sequence[Row]) -> list[Features]:
        """Tokenize both sequences of each pair; what exceeds the limit is cut at its end."""
        limit = self.limit()
        return [pairs.encode(self.processor, row, limit) for row in rows]

    def collate(self, features: Sequence[Features]) -> Batch:
        """Pad to the right; a pair's two sequences are neighbours, the chosen one before."""
        return pairs.collate(features, self.processor.pad_token_id)

    def units(self, batch: Batch) -> int:
        """Return the pairs that carry loss."""
        return int(pairs.complete(batch).sum())

    def say(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the log-probabilities of the answers, shape (pairs, 2)."""
        return self._read(model, batch)[0]

    def _read(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the answers' log-probabilities and lengths, shape (pairs, 2) each."""
        inputs = {key: batch[key] for key in ("input_ids", "attention_mask")}
        sums, counts = token_losses(model, inputs, following(batch["labels"]))
        return -sums.unflatten(0, (-1, 2)), counts.unflatten(0, (-1, 2))

    def row_losses(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return each pair's loss, and 1 where it carries any.

        The reference is what the batch carries; else the model without its adapter; of a model
        that has none, nothing, as with `reference_free`: the stage that trains sees to it.
        """
        said, lengths = self._read(model, batch)
        grown = said - self._reference(model, batch, said)
        losses = pair_losses(
            grown,
            lengths,
            loss_type=self.loss_type,
            beta=self.beta,
            label_smoothing=self.label_smoothing,
        )
        if self.rpo_alpha:
            losses = losses - self.rpo_alpha * said[:, 0] / lengths[:, 0].clamp(min=1)
        counts = pairs.complete(batch)
        return losses * counts, counts

    def _reference(self, model: Any, batch: Batch, said: Tensor) -> Tensor:
        import torch

        if self.reference_free:
            return torch.zeros_like(said)
        if REFERENCE in batch:
            return batch[REFERENCE].to(said)
        inner = getattr(model, "module", model)
        if not hasattr(inner, "disable_adapter"):
            return torch.zeros_like(said)
        was_training = inner.training
        inner.eval()
        with torch.no_grad(), inner.disable_adapter():
            found = self.say(inner, batch)
        inner.train(was_training)
        return found

    # -- from rows to answers ------------------------------------------------------------------

    def say_of(
        self, model: nn.Module, rows: Sequence[Row], *, batch_size: int = 32
    ) -> list[list[float]]:
        """Return the log-probabilities of the chosen and the rejected answer of raw rows."""
        import torch

        features = self.encode(rows)

        def answer(chosen: list[int]) -> list[list[float]]:
            batch = to_device(self.collate([features[i] for i in chosen]), model)
            with torch.inference_mode():
                found: list[list[float]] = self.say(model, batch).double().tolist()
            return found

        return in_batches(features, batch_size, answer)

    def predict(
        self, model: nn.Module, rows: Sequence[Row], *, batch_size: int = 32
    ) -> list[Prediction]:
        """Say which answer is preferred, and the margin of its rewards."""
        predictions = []
        for row, said in zip(rows, self.say_of(model, rows, batch_size=batch_size), strict=True):
            known = None if self.reference_free else row.get(REFERENCE)
            before = known if known is not None else (0.0, 0.0)
            margin = (said[0] - before[0]) - (said[1] - before[1])
            value = CHOSEN if margin > 0 else REJECTED if margin < 0 else NEITHER
            predictions.append(Prediction(value, self.beta * margin))
        return predictions

    def references(self, rows: Sequence[Row]) -> list[str]:
        """Return the right answers: the chosen ones."""
        return [CHOSEN for _ in rows]

    def judged(self, metric: str, predictions: Sequence[Prediction]) -> list[Any]:
        """Return margins for their mean, else which answers are preferred."""
        if metric == "reward_margin":
            return [prediction.score for prediction in predictions]
        return super().judged(metric, predictions)

    def score(
        self, predictions: Sequence[Prediction], references: Sequence[Any]
    ) -> dict[str, float]:
        """Return every metric's value; baselines have no margin."""
        judged = {m: self.judged(m.name, predictions) for m in self.scorers()}
        return {
            metric.name: metric(values, references)
            for metric, values in judged.items()
            if metric.name not in self.row_metrics and all(v is not None for v in values)
        }

    def baselines(self) -> dict[str, Baseline]:
        """Prefer the longer answer, or neither."""

        def longer(train: Sequence[Row], test: Sequence[Row]) -> list[Prediction]:
            del train
            found = []
            for row in test:
                sizes = [sum(len(t["content"]) for t in a) for a in preferences.pair(row)[1:]]
                even = sizes[0] == sizes[1]
                found.append(NEITHER if even else CHOSEN if sizes[0] > sizes[1] else REJECTED)
            return [Prediction(value) for value in found]

        def neither(train: Sequence[Row], test: Sequence[Row]) -> list[Prediction]:
            del train
            return [Prediction(NEITHER) for _ in test]

        return {
            "longer_answer": longer,
            "chance": neither,
        }
