"""Instruction tuning and chat: the assistant's turns, their end token, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from finetune.data.kinds import Kind, Messages
from finetune.tasks import baselines, chat
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
from finetune.tasks.labelled import following, token_losses

if TYPE_CHECKING:
    from torch import Tensor, nn

    from finetune.models.load import Loaded, LoadOptions


@dataclass
class TextGeneration(Task):
    """A conversation whose last answer is to be given."""

    tag: ClassVar[str] = "text-generation"
    columns: ClassVar[Mapping[str, Kind]] = {"messages": Messages()}
    auto_class: ClassVar[str] = "AutoModelForCausalLM"
    row_metrics: ClassVar[Sequence[str]] = ("perplexity",)

    loss_on: Literal["assistant", "last_turn", "all"] = "assistant"
    """What carries loss: every answer, the last one, or every token."""
    max_length: int | None = None
    """Tokens per conversation; null is the model's limit."""
    max_new_tokens: int | None = None
    """Longest answer; null is one and a half times the longest training answer."""
    primary_metric: str = "rougeL"
    """Chooses the checkpoint and carries the verdict."""
    metrics: list[str] = field(default_factory=lambda: ["exact_match", "token_f1", "rougeL"])
    """Metrics on the answers."""

    config_limit: int | None = field(default=None, init=False)
    answer_tokens: int | None = field(default=None, init=False)

    @property
    def primary(self) -> str:
        """The chosen metric."""
        return self.primary_metric

    @property
    def scored_by(self) -> Sequence[str]:
        """The chosen metrics and perplexity."""
        return list(dict.fromkeys([self.primary_metric, *self.metrics, "perplexity"]))

    def learn(self, audit: Mapping[str, Any]) -> None:
        """Take the longest answer, to know how long one may get."""
        longest = (audit.get("tokens") or {}).get("target_max")
        self.answer_tokens = int(longest * 1.5) + 8 if longest else None

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

    def save_model(self, model: nn.Module, folder: Path) -> None:
        """Write the model with how long its answers are and what ends them."""
        generation = model.generation_config
        generation.max_new_tokens = self.answer_limit(model)
        generation.max_length = None
        generation.pad_token_id = self.processor.pad_token_id
        ends = generation.eos_token_id
        listed = ends if isinstance(ends, list) else [] if ends is None else [ends]
        if self.processor.eos_token_id not in listed:
            generation.eos_token_id = [*listed, self.processor.eos_token_id]
        super().save_model(model, folder)

    def answer_limit(self, model: Any) -> int:
        """Return the most tokens an answer may have."""
        known = getattr(getattr(model, "generation_config", None), "max_new_tokens", None)
        wanted = self.max_new_tokens or self.answer_tokens or known or 128
        return min(wanted, max(1, limit // 2)) if (limit := self.limit()) else wanted

    def limit(self) -> int | None:
        """Return the most tokens a conversation may have."""
        return self.max_length or self.config_limit

    def encode(self, rows: Sequence[Row]) -> list[Features]:
        """Render, tokenize and mask each conversation; what exceeds the limit is cut at its end."""
        limit = self.limit()
        features = []
        for row in rows:
            ids, labels = chat.encode(self.processor, row["messages"], self.loss_on)
            features.append(
                {
                    "input_ids": ids[:limit],
                    "labels": labels[:limit],
                    "length": len(ids[:limit]),
                    "n_tokens": len(ids),
                    "target_tokens": len(ids) - chat.first_label(labels),
                }
            )
        return features

    def collate(self, features: Sequence[Features]) -> Batch:
        """Pad to the right; it is known by length, so an end token used for it carries loss."""
        ids = [item["input_ids"] for item in features]
        return {
            "input_ids": pad(ids, self.processor.pad_token_id),
            "attention_mask": mask(ids),
            "labels": pad([item["labels"] for item in features], -100),
        }

    def units(self, batch: Batch) -> int:
        """Return the labelled tokens that have a token before them."""
        return int((batch["labels"][:, 1:] != -100).sum())

    def row_losses(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Cross-entropy of each conversation's labelled tokens; a unit is a token."""
        inputs = {key: value for key, value in batch.items() if key != "labels"}
        return token_losses(model, inputs, following(batch["labels"]))

    def predict(
        self, model: nn.Module, rows: Sequence[Row], *, batch_size: int = 32
    ) -> list[Prediction]:
        """Give the last answer of each conversation, or the next one when a user spoke last."""
        limit, most = self.answer_limit(model), self.config_limit
        if most is not None:
            limit = min(limit, most // 2)  # an answer may not push its own question out
        prompts: list[Features] = []
        for row in rows:
            ids = chat.encode_prompt(self.processor, asked(row["messages"]))
            kept = ids if most is None else ids[-(most - limit) :]
            prompts.append({"input_ids": kept, "length": len(kept)})

        def answer(chosen: list[int]) -> list[Prediction]:
            ids = [prompts[i]["input_ids"] for i in chosen]
            batch = {
                "input_ids": pad(ids, self.processor.pad_token_id, left=True),
                "attention_mask": mask(ids, left=True),
            }
            longest = batch["input_ids"].shape[1]
            return generate(
                model,
                to_device(batch, model),
                self.processor,
                prompt_tokens=longest,
                max_new_tokens=limit,
            )

        return in_batches(prompts, batch_size, answer)

    def references(self, rows: Sequence[Row]) -> list[str]:
        """Return the last answers."""
        return [str(row["messages"][-1]["content"]).strip() for row in rows]

    def baselines(self) -> dict[str, Baseline]:
        """The most frequent answer, and the answer to the nearest training prompt."""

        def flat(rows: Sequence[Row]) -> list[Row]:
            return [
                {
                    "prompt": "\n".join(m["content"] for m in asked(row["messages"])),
                    "answer": str(row["messages"][-1]["content"]).strip(),
                }
                for row in rows
            ]

        frequent, nearest = (
            baselines.majority("answer"),
            baselines.nearest_neighbour("prompt", "answer"),
        )
        return {
            "most_frequent": lambda train, test: frequent(flat(train), flat(test)),
            "nearest_neighbour": lambda train, test: nearest(flat(train), flat(test)),
        }


def asked(messages: Sequence[Mapping[str, str]]) -> Sequence[Mapping[str, str]]:
    """Return a conversation without its last answer."""
    return messages[:-1] if messages and messages[-1]["role"] == "assistant" else messages
