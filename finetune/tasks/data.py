"""Data alone: rows of any shape read, cleaned, cut and audited, with nothing to train."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from finetune.data.kinds import Kind
from finetune.data.shapes import SHAPES
from finetune.tasks.base import Features, Row

_ENCODED = 1000


@dataclass
class Data:
    """What `prepare` asks of a task, and no more: it has no model, no loss and no score."""

    tag: ClassVar[str] = "data"
    lazy: ClassVar[bool] = True
    hub_tag: ClassVar[str] = "data"
    trains: ClassVar[bool] = False
    """Whether there is anything to train: not here."""

    shape: Literal[
        "auto",
        "classification",
        "multi_label",
        "regression",
        "token_classification",
        "question_answering",
        "preference",
        "conversation",
        "text2text",
        "image_classification",
        "image_text",
        "audio_classification",
        "transcription",
        "table",
    ] = "auto"
    """Which columns belong together; auto recognises it and says so."""
    max_length: int | None = None
    """Tokens per text, when a model is named; null is the model's limit."""

    processor: Any = field(default=None, init=False, repr=False, compare=False)
    """Tokenizer of the model that is named, if one is."""

    @property
    def columns(self) -> Mapping[str, Kind] | None:
        """Canonical columns and their kinds; None when they are still to be recognised."""
        return None if self.shape == "auto" else SHAPES[self.shape]

    def learn(self, audit: Mapping[str, Any]) -> None:
        """Take nothing from the audit: there is no model to be told."""

    def load_processor(self, folder: Path) -> Any:
        """Load the tokenizer, to measure rows in tokens."""
        from finetune.models.processor import load_tokenizer

        self.processor = load_tokenizer(folder)
        return self.processor

    def limit(self) -> int | None:
        """Return the most tokens a text may have."""
        from finetune.models.processor import token_limit

        return self.max_length or (token_limit(self.processor) if self.processor else None)

    def measure(self, rows: Sequence[Row]) -> list[Features]:
        """Return the length of each row in tokens; nothing without a tokenizer."""
        if self.processor is None:
            return [{} for _ in rows]
        texts = ["\n".join(_texts(row)) for row in rows]
        limit = self.limit()
        features: list[Features] = []
        for start in range(0, len(texts), _ENCODED):
            for ids in self.processor(texts[start : start + _ENCODED], verbose=False)["input_ids"]:
                kept = len(ids) if limit is None else min(len(ids), limit)
                features.append({"n_tokens": len(ids), "length": kept})
        return features


def _texts(row: Row) -> list[str]:
    """Return every text of a row, of its lists and conversations too."""
    found: list[str] = []
    for name, value in row.items():
        if name == "id" or value is None:
            continue
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, list):
            found += [str(item.get("content", "")) if isinstance(item, Mapping) else str(item)
                      for item in value]  # fmt: skip
    return found
