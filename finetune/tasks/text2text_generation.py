"""Text in, text out with an encoder and a decoder: translation, summarisation, normalisation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from finetune.data.kinds import Kind, Text
from finetune.tasks import baselines
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
from finetune.tasks.generation import generate
from finetune.tasks.labelled import token_losses

if TYPE_CHECKING:
    from torch import Tensor, nn

    from finetune.models.load import Loaded, LoadOptions


@dataclass
class Text2textGeneration(Task):
    """A source text to a target text."""

    tag: ClassVar[str] = "text2text-generation"
    columns: ClassVar[Mapping[str, Kind]] = {"source": Text(), "target": Text(target=True)}
    auto_class: ClassVar[str] = "AutoModelForSeq2SeqLM"
    row_metrics: ClassVar[Sequence[str]] = ("perplexity",)

    pipeline_tag: str = "text2text-generation"
    """What the model card says it does: translation, summarization or text2text-generation."""
    prefix: str = ""
    """Put before each source, as T5's task prefixes are."""
    max_length: int | None = None
    """Tokens per source; null is the model's limit."""
    allow_special_tokens: bool = False
    """Read `[SEP]` and its like in texts as the tokens they name, not as their characters."""
    max_target_length: int | None = None
    """Tokens per target; null is the model's limit."""
    max_new_tokens: int | None = None
    """Longest answer; null is one and a half times the longest training target."""
    primary_metric: str = "chrf"
    """Chooses the checkpoint and carries the verdict."""
    metrics: list[str] = field(default_factory=lambda: ["chrf", "bleu", "rougeL", "exact_match"])
    """Metrics on the answers."""

    decoder_start: int = field(default=0, init=False)
    answer_tokens: int | None = field(default=None, init=False)

    @property
    def primary(self) -> str:
        """The chosen metric."""
        return self.primary_metric

    @property
    def scored_by(self) -> Sequence[str]:
        """The chosen metrics and perplexity."""
        return list(dict.fromkeys([self.primary_metric, *self.metrics, "perplexity"]))

    @property
    def hub_tag(self) -> str:
        """What the card says."""
        return self.pipeline_tag

    def learn(self, audit: Mapping[str, Any]) -> None:
        """Take the longest target, to know how long an answer may get."""
        longest = (audit.get("tokens") or {}).get("target_max")
        self.answer_tokens = int(longest * 1.5) + 8 if longest else None

    def load_processor(self, folder: Path) -> Any:
        """Load the tokenizer, and from the configuration how a decoder starts."""
        from finetune.models.load import read_config
        from finetune.models.processor import load_tokenizer

        self.processor = load_tokenizer(folder, special_tokens_in_text=self.allow_special_tokens)
        start = getattr(read_config(folder), "decoder_start_token_id", None)
        self.decoder_start = self.processor.pad_token_id if start is None else int(start)
        return self.processor

    def load_model(self, folder: Path, options: LoadOptions) -> Loaded:
        """Load encoder, decoder and language-model head."""
        from transformers import AutoModelForSeq2SeqLM

        from finetune.models.load import load

        return load(folder, AutoModelForSeq2SeqLM, options)

    def save_model(self, model: nn.Module, folder: Path) -> None:
        """Write the model with how long its answers are."""
        generation = model.generation_config
        generation.max_new_tokens = self.answer_limit(model)
        generation.max_length = None
        super().save_model(model, folder)

    def answer_limit(self, model: Any) -> int:
        """Return the most tokens an answer may have."""
        known = getattr(getattr(model, "generation_config", None), "max_new_tokens", None)
        return self.max_new_tokens or self.answer_tokens or known or 128

    def limit(self) -> int | None:
        """Return the most tokens a source may have."""
        from finetune.models.processor import token_limit

        return self.max_length or token_limit(self.processor)

    def encode(self, rows: Sequence[Row]) -> list[Features]:
        """Tokenize sources and targets; the end token is kept when a text is cut."""
        if not rows:
            return []
        sources = [self.prefix + str(row["source"]) for row in rows]
        features: list[Features] = []
        limit = self.limit()
        for ids in self.processor(sources, verbose=False)["input_ids"]:
            kept = shorten(ids, limit, self.processor.eos_token_id)
            features.append({"input_ids": kept, "length": len(kept), "n_tokens": len(ids)})
        if any(row.get("target") is None for row in rows):
            return features
        targets = self.processor(text_target=[str(row["target"]) for row in rows], verbose=False)[
            "input_ids"
        ]
        for item, ids in zip(features, targets, strict=True):
            kept = shorten(ids, self.max_target_length or limit, self.processor.eos_token_id)
            item |= {
                "labels": kept,
                "length": item["length"] + len(kept),
                "n_tokens": item["n_tokens"] + len(ids),
            }
        return features

    def collate(self, features: Sequence[Features]) -> Batch:
        """Pad; the decoder reads the labels one place to the right."""
        ids = [item["input_ids"] for item in features]
        batch = {"input_ids": pad(ids, self.processor.pad_token_id), "attention_mask": mask(ids)}
        if all("labels" in item for item in features):
            labels = [item["labels"] for item in features]
            batch["labels"] = pad(labels, -100)
            shifted = [[self.decoder_start, *label[:-1]] for label in labels]
            batch["decoder_input_ids"] = pad(shifted, self.processor.pad_token_id)
            batch["decoder_attention_mask"] = mask(
                shifted
            )  # what follows a target sees and is not seen
        return batch

    def row_losses(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Cross-entropy of each target; a unit is a target token."""
        inputs = {key: value for key, value in batch.items() if key != "labels"}
        return token_losses(model, inputs, batch["labels"])

    def predict(
        self, model: nn.Module, rows: Sequence[Row], *, batch_size: int = 32
    ) -> list[Prediction]:
        """Generate an answer for each source."""
        features = self.encode([{"source": row["source"]} for row in rows])

        def answer(chosen: list[int]) -> list[Prediction]:
            batch = to_device(self.collate([features[i] for i in chosen]), model)
            limit = self.answer_limit(model)
            return generate(model, batch, self.processor, prompt_tokens=1, max_new_tokens=limit)

        return in_batches(features, batch_size, answer)

    def references(self, rows: Sequence[Row]) -> list[str]:
        """Return the targets."""
        return [str(row["target"]).strip() for row in rows]

    def baselines(self) -> dict[str, Baseline]:
        """The source itself, and the target of the nearest training source."""
        return {
            "copy_source": baselines.copy("source"),
            "nearest_neighbour": baselines.nearest_neighbour("source", "target"),
        }


def shorten(ids: Sequence[int], limit: int | None, end: int | None) -> list[int]:
    """Return at most `limit` tokens, the last being the end token when the full text had it."""
    if limit is None or len(ids) <= limit:
        return list(ids)
    return [*ids[: limit - 1], end] if end is not None and ids[-1] == end else list(ids[:limit])
