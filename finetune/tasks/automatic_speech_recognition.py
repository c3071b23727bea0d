"""Sound to text with an encoder and a decoder, as Whisper does it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from finetune.data.kinds import Audio, Kind, Text
from finetune.errors import ConfigError, did_you_mean
from finetune.tasks import baselines
from finetune.tasks.base import (
    Baseline,
    Batch,
    Features,
    Prediction,
    Row,
    Task,
    pad,
    to_device,
)
from finetune.tasks.generation import generate
from finetune.tasks.labelled import token_losses

if TYPE_CHECKING:
    from torch import Tensor, nn

    from finetune.models.load import Loaded, LoadOptions


@dataclass
class AutomaticSpeechRecognition(Task):
    """A recording and what is said in it."""

    tag: ClassVar[str] = "automatic-speech-recognition"
    columns: ClassVar[Mapping[str, Kind]] = {"audio": Audio(), "text": Text(target=True)}
    auto_class: ClassVar[str] = "AutoModelForSpeechSeq2Seq"
    lazy: ClassVar[bool] = True
    row_metrics: ClassVar[Sequence[str]] = ("perplexity",)

    language: str | None = None
    """Spoken language, for a multilingual base; null lets it find out."""
    max_length: int | None = None
    """Tokens per transcript; null is the model's limit."""
    allow_special_tokens: bool = False
    """Read `[SEP]` and its like in texts as the tokens they name, not as their characters."""
    max_new_tokens: int | None = None
    """Longest transcript given; null is one and a half times the longest one trained on."""
    primary_metric: Literal["wer", "cer"] = "wer"
    """Chooses the checkpoint and carries the verdict."""

    decoder_start: int = field(default=0, init=False)
    config_limit: int | None = field(default=None, init=False)
    answer_tokens: int | None = field(default=None, init=False)

    @property
    def primary(self) -> str:
        """The chosen metric."""
        return self.primary_metric

    @property
    def scored_by(self) -> Sequence[str]:
        """Word and character errors, exact transcripts, perplexity."""
        rest = [
            name for name in ("wer", "cer", "exact_match", "perplexity") if name != self.primary
        ]
        return [self.primary, *rest]

    def learn(self, audit: Mapping[str, Any]) -> None:
        """Take the longest transcript, to know how long an answer may get."""
        longest = (audit.get("tokens") or {}).get("target_max")
        self.answer_tokens = int(longest * 1.5) + 8 if longest else None

    def load_processor(self, folder: Path) -> Any:
        """Load feature extractor and tokenizer, and from the configuration how a decoder starts."""
        from finetune.models.load import read_config
        from finetune.models.processor import load_processor

        self.processor = load_processor(
            folder, "feature_extractor", special_tokens_in_text=self.allow_special_tokens
        )
        config = read_config(folder)
        self.decoder_start = int(config.decoder_start_token_id)
        self.config_limit = getattr(config, "max_target_positions", None)
        if self.language is not None:
            self.speak(folder, self.language)
        return self.processor

    def speak(self, folder: Path, language: str) -> None:
        """Begin every transcript with the tokens of a language.

        Raises:
            ConfigError: The base knows no languages, or not this one.
        """
        tokenizer, file = self.processor.tokenizer, folder / "generation_config.json"
        facts = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        known = facts.get("lang_to_id") or {}
        if not known or not hasattr(tokenizer, "set_prefix_tokens"):
            raise ConfigError(
                f"`task.language={language}` is given, but this base model does not ask for a "
                "language.",
                fix="Leave task.language out, or choose a multilingual base model.",
            )
        try:
            tokenizer.set_prefix_tokens(
                language=language, task="transcribe", predict_timestamps=False
            )
            said = set(tokenizer.convert_ids_to_tokens(tokenizer.prefix_tokens)) & set(known)
        except ValueError:
            said = set()
        if not said:  # transformers counts a language's token out, whether it is there or not
            codes = [code.strip("<|>") for code in known]
            raise ConfigError(
                f"`task.language={language}` is no language of this base model"
                f"{did_you_mean(language, codes) or '.'}",
                fix=f"It knows: {', '.join(sorted(codes))}.",
            )

    def load_model(self, folder: Path, options: LoadOptions) -> Loaded:
        """Load encoder and decoder."""
        from transformers import AutoModelForSpeechSeq2Seq

        from finetune.models.load import load

        return load(folder, AutoModelForSpeechSeq2Seq, options)

    def save_model(self, model: nn.Module, folder: Path) -> None:
        """Write the model with how long its answers are."""
        generation = model.generation_config
        generation.max_new_tokens = self.answer_limit(model)
        generation.max_length = None
        if self.language is not None and getattr(generation, "is_multilingual", False):
            generation.language, generation.task = self.language, "transcribe"
        super().save_model(model, folder)

    def answer_limit(self, model: Any) -> int:
        """Return the most tokens a transcript may have: within the decoder's positions."""
        known = getattr(getattr(model, "generation_config", None), "max_new_tokens", None)
        wanted = self.max_new_tokens or self.answer_tokens or known or 128
        return min(wanted, self.config_limit - 8) if self.config_limit else wanted

    def limit(self) -> int | None:
        """Return the most tokens a transcript may have in training."""
        return self.max_length or self.config_limit

    def seconds(self) -> float | None:
        """Return the longest sound that the encoder hears in one piece."""
        return getattr(self.processor.feature_extractor, "chunk_length", None)

    def measure(self, rows: Sequence[Row]) -> list[Features]:
        """Measure transcripts and recordings without computing their features."""
        from finetune.data.media import audio_seconds

        features = self.encode([{"text": row["text"]} for row in rows])
        longest = self.seconds()
        for item, row in zip(features, rows, strict=True):
            item["seconds"] = audio_seconds(row["audio"])
            item["overlong"] = item["n_tokens"] > item["length"] or bool(
                longest and item["seconds"] > longest
            )
        return features

    def encode(self, rows: Sequence[Row]) -> list[Features]:
        """Compute the spectrogram of each recording; tokenize each transcript."""
        features: list[Features] = [{} for _ in rows]
        if rows and rows[0].get("audio") is not None:
            for item, values in zip(
                features, self.spectrograms([row["audio"] for row in rows]), strict=True
            ):
                item["input_features"] = values
        if rows and rows[0].get("text") is not None:
            limit = self.limit()
            for item, ids in zip(
                features, self.transcripts([str(row["text"]) for row in rows]), strict=True
            ):
                kept = ids if limit is None or len(ids) <= limit else [*ids[: limit - 1], ids[-1]]
                item |= {
                    "labels": kept,
                    "length": len(kept),
                    "n_tokens": len(ids),
                    "target_tokens": len(ids),
                }
        return features

    def transcripts(self, texts: list[str]) -> list[list[int]]:
        """Tokenize transcripts; the token that starts the decoder is put there by `collate`."""
        tokenized = self.processor.tokenizer(texts, verbose=False)["input_ids"]
        return [list(ids[1:] if ids and ids[0] == self.decoder_start else ids) for ids in tokenized]

    def spectrograms(self, recordings: Sequence[Mapping[str, Any]]) -> Any:
        """Return the encoder's inputs, shape (rows, mel bins, frames)."""
        from finetune.data.media import decode_audio

        extractor = self.processor.feature_extractor
        rate = extractor.sampling_rate
        sounds = [decode_audio(recording, rate) for recording in recordings]
        return extractor(sounds, sampling_rate=rate, return_tensors="np")[
            extractor.model_input_names[0]
        ]

    def collate(self, features: Sequence[Features]) -> Batch:
        """Stack spectrograms, pad transcripts; the decoder reads them one place to the right."""
        import numpy as np
        import torch

        batch: Batch = {}
        if "input_features" in features[0]:
            name = self.processor.feature_extractor.model_input_names[0]
            batch[name] = torch.from_numpy(np.stack([item["input_features"] for item in features]))
        if all("labels" in item for item in features):
            labels = [item["labels"] for item in features]
            batch["labels"] = pad(labels, -100)
            shifted = [[self.decoder_start, *label[:-1]] for label in labels]
            batch["decoder_input_ids"] = pad(shifted, self.processor.tokenizer.pad_token_id or 0)
            batch["decoder_attention_mask"] = (batch["labels"] != -100).long()
        return batch

    def row_losses(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Cross-entropy of each transcript; a unit is a token."""
        inputs = {key: value for key, value in batch.items() if key != "labels"}
        return token_losses(model, inputs, batch["labels"])

    def predict(
        self, model: nn.Module, rows: Sequence[Row], *, batch_size: int = 32
    ) -> list[Prediction]:
        """Transcribe recordings."""
        arguments: dict[str, Any] = {}
        if self.language is not None and getattr(model.generation_config, "is_multilingual", False):
            arguments = {"language": self.language, "task": "transcribe"}
        answers: list[Prediction] = []
        for start in range(0, len(rows), batch_size):
            chosen = [{"audio": row["audio"]} for row in rows[start : start + batch_size]]
            batch = to_device(self.collate(self.encode(chosen)), model)
            answers += generate(
                model,
                batch,
                self.processor.tokenizer,
                prompt_tokens=0,
                max_new_tokens=self.answer_limit(model),
                **arguments,
            )
        return answers

    def references(self, rows: Sequence[Row]) -> list[str]:
        """Return the transcripts."""
        return [str(row["text"]).strip() for row in rows]

    def baselines(self) -> dict[str, Baseline]:
        """The most frequent transcript."""
        return {"most_frequent": baselines.majority("text")}
