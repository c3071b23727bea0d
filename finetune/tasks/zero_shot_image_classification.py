"""Pictures and texts brought together by contrast: retrieval and zero-shot classification."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from finetune.data.kinds import Image, Kind, Text
from finetune.tasks import baselines
from finetune.tasks.base import (
    Baseline,
    Batch,
    CoupledTask,
    Features,
    Prediction,
    Row,
    mask,
    pad,
    to_device,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

    from finetune.models.load import Loaded, LoadOptions


@dataclass
class ZeroShotImageClassification(CoupledTask):
    """A picture and its caption. Candidates of a row are the different captions among its rows."""

    tag: ClassVar[str] = "zero-shot-image-classification"
    columns: ClassVar[Mapping[str, Kind]] = {"image": Image(), "text": Text(target=True)}
    auto_class: ClassVar[str] = "AutoModel"
    lazy: ClassVar[bool] = True

    max_length: int | None = None
    """Tokens per caption; null is the model's limit."""
    allow_special_tokens: bool = False
    """Read `[SEP]` and its like in texts as the tokens they name, not as their characters."""
    primary_metric: Literal["recall_at_1", "recall_at_5", "mrr"] = "recall_at_1"
    """Chooses the checkpoint and carries the verdict."""

    config_limit: int | None = field(default=None, init=False)
    fixed_length: int | None = field(default=None, init=False)

    @property
    def primary(self) -> str:
        """The chosen metric."""
        return self.primary_metric

    @property
    def scored_by(self) -> Sequence[str]:
        """Retrieval of the caption, and its choice among all different ones."""
        names = ("recall_at_1", "recall_at_5", "recall_at_10", "mrr", "zero_shot_accuracy")
        return [self.primary, *(name for name in names if name != self.primary)]

    def load_processor(self, folder: Path) -> Any:
        """Load picture processor and tokenizer."""
        from finetune.models.load import read_config
        from finetune.models.processor import load_processor, token_limit

        self.processor = load_processor(
            folder, "image_processor", special_tokens_in_text=self.allow_special_tokens
        )
        text_config = getattr(read_config(folder), "text_config", None)
        tokenizer = self.processor.tokenizer
        self.config_limit = token_limit(tokenizer, text_config)
        if "attention_mask" not in tokenizer.model_input_names:
            self.fixed_length = (
                self.config_limit
            )  # trained on captions padded to one length (SigLIP)
        return self.processor

    def load_model(self, folder: Path, options: LoadOptions) -> Loaded:
        """Load both towers and their projections."""
        from transformers import AutoModel

        from finetune.models.load import load

        return load(folder, AutoModel, options)

    def limit(self) -> int | None:
        """Return the most tokens a caption may have."""
        return self.max_length or self.config_limit

    def encode(self, rows: Sequence[Row]) -> list[Features]:
        """Decode and prepare each picture; tokenize each caption."""
        features: list[Features] = [{} for _ in rows]
        if rows and rows[0].get("image") is not None:
            for item, values in zip(
                features, self.pixels([row["image"] for row in rows]), strict=True
            ):
                item["pixel_values"] = values
        if rows and rows[0].get("text") is not None:
            texts = [str(row["text"]) for row in rows]
            full = self.processor.tokenizer(texts, verbose=False)["input_ids"]
            limit = self.limit()
            cut = self.processor.tokenizer(
                texts, truncation=limit is not None, max_length=limit, verbose=False
            )
            for item, text, ids, kept in zip(features, texts, full, cut["input_ids"], strict=True):
                item |= {
                    "input_ids": kept,
                    "length": len(kept),
                    "n_tokens": len(ids),
                    "group": number_of(text),
                }
        return features

    def measure(self, rows: Sequence[Row]) -> list[Features]:
        """Measure the captions."""
        return self.encode([{"text": row["text"]} for row in rows])

    def pixels(self, images: Sequence[Mapping[str, Any]]) -> Any:
        """Return the prepared pictures, shape (rows, channels, height, width)."""
        from finetune.data.media import decode_image

        return self.processor.image_processor(
            [decode_image(image) for image in images], return_tensors="np"
        )["pixel_values"]

    def collate(self, features: Sequence[Features]) -> Batch:
        """Stack pictures, pad captions."""
        import numpy as np
        import torch

        batch: Batch = {}
        if "pixel_values" in features[0]:
            batch["pixel_values"] = torch.from_numpy(
                np.stack([item["pixel_values"] for item in features])
            )
        if "input_ids" in features[0]:
            ids = [item["input_ids"] for item in features]
            filler = self.processor.tokenizer.pad_token_id or 0
            if self.fixed_length:
                ids = [[*row, *[filler] * (self.fixed_length - len(row))] for row in ids]
            else:
                batch["attention_mask"] = mask(ids)
            batch["input_ids"] = pad(ids, filler)
            batch["group"] = torch.tensor([item["group"] for item in features])
        return batch

    def units(self, batch: Batch) -> int:
        """Return the number of pairs."""
        return int(batch["group"].shape[0])

    def groups(self, batch: Batch) -> Tensor:
        """Return a number per caption."""
        return batch["group"]

    def embed(self, model: nn.Module, batch: Batch) -> tuple[Tensor, ...]:
        """Return unit vectors of pictures and captions."""
        output = model(**{key: value for key, value in batch.items() if key != "group"})
        return output.image_embeds, output.text_embeds

    def coupled_loss(
        self, model: nn.Module, embeddings: tuple[Tensor, ...], group: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Contrast every picture with every caption of the global batch; a unit is a pair.

        Symmetric cross-entropy (CLIP, Radford et al. 2021), rows of one caption sharing the
        target; or the pairwise sigmoid (SigLIP, Zhai et al. 2023) for a model with a logit bias.
        """
        import torch
        from torch.nn import functional

        images, texts = (embedding.float() for embedding in embeddings)
        logits = images @ texts.T * model.logit_scale.float().exp()
        same = group[:, None] == group[None, :]
        rows = torch.tensor(len(group), device=logits.device)
        bias = getattr(model, "logit_bias", None)
        if bias is not None:
            signs = same.to(logits.dtype) * 2 - 1
            return -functional.logsigmoid(signs * (logits + bias.float())).sum(), rows
        target = same.to(logits.dtype) / same.sum(1, keepdim=True)
        by_image = -(target * logits.log_softmax(1)).sum()
        by_text = -(target * logits.log_softmax(0)).sum()
        return (by_image + by_text) / 2, rows

    def row_losses(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Contrast within this batch alone, spread evenly: for validation, not for training."""
        import torch

        total, rows = self.coupled_loss(model, self.embed(model, batch), self.groups(batch))
        return (total / rows).expand(int(rows)), torch.ones_like(batch["group"])

    def vectors(
        self, model: nn.Module, rows: Sequence[Row], batch_size: int
    ) -> tuple[Tensor, Tensor, list[str]]:
        """Return unit vectors of the pictures and of the different captions, and the captions."""
        import torch

        captions = list(dict.fromkeys(str(row["text"]) for row in rows))
        images, texts = [], []
        with torch.inference_mode():
            for start in range(0, len(rows), batch_size):
                chosen = [{"image": row["image"]} for row in rows[start : start + batch_size]]
                batch = to_device(self.collate(self.encode(chosen)), model)
                images.append(vector(model.get_image_features(**batch)))
            for start in range(0, len(captions), batch_size):
                chosen = [{"text": text} for text in captions[start : start + batch_size]]
                batch = to_device(self.collate(self.encode(chosen)), model)
                batch.pop("group")
                texts.append(vector(model.get_text_features(**batch)))
        return torch.cat(images), torch.cat(texts), captions

    def predict(
        self, model: nn.Module, rows: Sequence[Row], *, batch_size: int = 32
    ) -> list[Prediction]:
        """Choose each picture's caption among the different captions of the rows.

        For new pictures, give each row one of the candidate captions as its text, matching or not.
        """
        from finetune.metrics.retrieval import ranks

        if not rows:
            return []
        images, texts, captions = self.vectors(model, rows, batch_size)
        similarity = (images @ texts.T).cpu().numpy()
        place = {caption: number for number, caption in enumerate(captions)}
        found = ranks(similarity, [place[str(row["text"])] for row in rows])
        best = similarity.argmax(1)
        return [
            Prediction(
                captions[int(index)], float(similarity[number, index]), rank=int(found[number])
            )
            for number, index in enumerate(best)
        ]

    def references(self, rows: Sequence[Row]) -> list[str]:
        """Return the captions."""
        return [str(row["text"]) for row in rows]

    def judged(self, metric: str, predictions: Sequence[Prediction]) -> list[Any]:
        """Retrieval looks at the rank of the right caption, accuracy at the chosen one."""
        from finetune.metrics.retrieval import AnyRank

        if metric == "zero_shot_accuracy":
            return [p.rank if isinstance(p.rank, AnyRank) else p.value for p in predictions]
        return [prediction.rank for prediction in predictions]

    def baselines(self) -> dict[str, Baseline]:
        """A caption chosen blindly."""
        return {"chance": baselines.chance("text")}


def vector(output: Any) -> Tensor:
    """Return unit vectors from what a tower returns, a tensor or an output with one pooled."""
    found: Tensor = getattr(output, "pooler_output", output).float()
    return found / found.norm(dim=-1, keepdim=True)


def number_of(text: str) -> int:
    """Return a 63-bit number that is equal for equal texts on every machine."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
