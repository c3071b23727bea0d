"""Text classification: one label per text, by the first token or the mean of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from finetune.data.kinds import Kind, Label, Text
from finetune.errors import DataError
from finetune.tasks import baselines, losses, pooled
from finetune.tasks.base import (
    Baseline,
    Batch,
    Features,
    Prediction,
    Row,
    Task,
    in_batches,
    mask,
    pad,
    to_device,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

    from finetune.models.load import Loaded, LoadOptions


@dataclass
class TextClassification(Task):
    """One label per text."""

    tag: ClassVar[str] = "text-classification"
    columns: ClassVar[Mapping[str, Kind]] = {"text": Text(), "label": Label()}
    auto_class: ClassVar[str] = "AutoModelForSequenceClassification"
    divisible: ClassVar[str | None] = "text"

    pooling: Literal["first", "mean"] = "first"
    """What the head sees: what its class shows it (BERT: the first token), or the mean of all."""
    max_length: int | None = None
    """Tokens per text; null is the model's limit."""
    allow_special_tokens: bool = False
    """Read `[SEP]` and its like in texts as the tokens they name, not as their characters."""
    primary_metric: Literal["accuracy", "macro_f1"] = "accuracy"
    """Chooses the checkpoint and carries the verdict."""
    class_weights: Literal["auto"] | dict[str, float] | None = None
    """Weight of each label in the training loss: null, auto (n / (k · n_c)), or by label."""
    focal_gamma: float = field(default=0.0, metadata={"low": 0.0, "high": 10.0})
    """Take training loss from rows that are already right; 0 is plain cross-entropy, 2 usual."""

    weights: list[float] | None = field(default=None, init=False)

    @property
    def primary(self) -> str:
        """The chosen metric."""
        return self.primary_metric

    @property
    def scored_by(self) -> Sequence[str]:
        """Accuracy and the macro averages."""
        rest = [
            n
            for n in ("accuracy", "macro_f1", "macro_precision", "macro_recall")
            if n != self.primary
        ]
        return [self.primary, *rest]

    def learn(self, audit: Mapping[str, Any]) -> None:
        """Take label names, and from their counts the weights of the loss.

        Raises:
            ConfigError: `class_weights` names a label that the data don't have.
            DataError: There is one label only, so that nothing can be told apart.
        """
        super().learn(audit)
        counts = (audit.get("class_splits") or {}).get("train") or audit.get("classes") or {}
        if len(counts) == 1:
            raise DataError(
                f"All {sum(counts.values())} training rows have the same label, so that there is "
                "nothing to tell apart.",
                fix="Give rows of at least two labels, and check data.columns.label.",
            )
        self.weights = losses.class_weights(self.class_weights, counts, self.labels)

    def load_processor(self, folder: Path) -> Any:
        """Load the tokenizer."""
        from finetune.models.processor import load_tokenizer

        self.processor = load_tokenizer(folder, special_tokens_in_text=self.allow_special_tokens)
        return self.processor

    def load_model(self, folder: Path, options: LoadOptions) -> Loaded:
        """Load the base with a head for the known labels, or a merged folder with its own."""
        from transformers import AutoModelForSequenceClassification

        from finetune.models.load import load

        if self.pooling == "mean":
            return pooled.load(folder, options, labels=self.labels)
        changes = {
            "num_labels": len(self.labels),
            "id2label": dict(enumerate(self.labels)),
            "label2id": {label: index for index, label in enumerate(self.labels)},
            "problem_type": "single_label_classification",
            "pad_token_id": self.processor.pad_token_id,
        }
        return load(
            folder,
            AutoModelForSequenceClassification,
            options,
            config_changes=changes,
            head_may_be_new=True,
        )

    def save_model(self, model: nn.Module, folder: Path) -> None:
        """Write the plain class, or a sentence-transformers folder when no plain class pools so."""
        if isinstance(model, pooled.module_class()):
            pooled.save(model, self.processor, folder, max_length=self.limit())
        else:
            super().save_model(model, folder)

    def limit(self) -> int | None:
        """Return the most tokens a text may have."""
        from finetune.models.processor import token_limit

        return self.max_length or token_limit(self.processor)

    def encode(self, rows: Sequence[Row]) -> list[Features]:
        """Tokenize; a label the model doesn't know is an error of the data stage."""
        index = {label: number for number, label in enumerate(self.labels)}
        texts = [str(row["text"]) for row in rows]
        full = self.processor(texts, truncation=False, verbose=False)["input_ids"] if texts else []
        limit = self.limit()
        long = [i for i, ids in enumerate(full) if limit is not None and len(ids) > limit]
        cut = dict(zip(long, self._cut([texts[i] for i in long]), strict=True))
        features = []
        for number, (row, ids) in enumerate(zip(rows, full, strict=True)):
            kept = cut.get(number, ids)
            item: Features = {"input_ids": kept, "length": len(kept), "n_tokens": len(ids)}
            if row.get("label") is not None and row["label"] in index:
                item["labels"] = index[row["label"]]
            features.append(item)
        return features

    def _cut(self, texts: list[str]) -> list[list[int]]:
        """Tokenize texts beyond the limit, special tokens kept."""
        if not texts:
            return []
        ids: list[list[int]] = self.processor(texts, truncation=True, max_length=self.limit())[
            "input_ids"
        ]
        return ids

    def collate(self, features: Sequence[Features]) -> Batch:
        """Pad token ids; labels, when all rows have one, as integers."""
        import torch

        ids = [item["input_ids"] for item in features]
        batch = {
            "input_ids": pad(ids, self.processor.pad_token_id or 0),
            "attention_mask": mask(ids),
        }
        if all("labels" in item for item in features):
            batch["labels"] = torch.tensor([item["labels"] for item in features])
        return batch

    def units(self, batch: Batch) -> float:
        """Return the sum of the weights of the texts."""
        return float(losses.row_weights(batch["labels"], self.weights).double().sum())

    def row_losses(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Cross-entropy of each text; a unit is a text.

        Weights and focal factor are for training alone, as dropout is: validation loss stays the
        plain one, which runs of different weights can be compared by.
        """
        inputs = {key: value for key, value in batch.items() if key != "labels"}
        return losses.cross_entropy(
            model(**inputs).logits,
            batch["labels"],
            weights=self.weights if model.training else None,
            focal_gamma=self.focal_gamma if model.training else 0.0,
        )

    def predict(
        self, model: nn.Module, rows: Sequence[Row], *, batch_size: int = 32
    ) -> list[Prediction]:
        """Return the most probable label of each text and its probability."""
        import torch

        features = [{k: v for k, v in item.items() if k != "labels"} for item in self.encode(rows)]

        def answer(chosen: list[int]) -> list[Prediction]:
            batch = to_device(self.collate([features[i] for i in chosen]), model)
            with torch.inference_mode():
                probabilities = model(**batch).logits.float().softmax(-1)
            best = probabilities.max(-1)
            return [
                Prediction(self.labels[int(index)], float(score))
                for score, index in zip(best.values, best.indices, strict=True)
            ]

        return in_batches(features, batch_size, answer)

    def references(self, rows: Sequence[Row]) -> list[str]:
        """Return the labels."""
        return [str(row["label"]) for row in rows]

    def baselines(self) -> dict[str, Baseline]:
        """The most frequent label, and TF-IDF with logistic regression."""
        return {
            "majority": baselines.majority("label"),
            "tfidf_logistic_regression": baselines.tfidf_logistic_regression("text", "label"),
        }

    def profile(
        self, rows: Sequence[Row], predictions: Sequence[Prediction]
    ) -> dict[str, list[float]]:
        """Length in characters beside the score."""
        return {
            "characters": [float(len(str(row["text"]))) for row in rows],
            **super().profile(rows, predictions),
        }
