"""Text classification over the mean of all tokens, exported so that others load it without us."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.errors import ArtefactError
from finetune.models.fresh import mean_of_tokens

if TYPE_CHECKING:
    from torch import nn

    from finetune.models.load import Loaded, LoadOptions

HEAD = "2_Dense"
"""Folder of the classification layer in a sentence-transformers model."""


@functools.cache
def module_class() -> type[nn.Module]:
    """Return the module: a plain encoder, the mean of its last states, one linear layer."""
    from torch import nn
    from transformers.modeling_outputs import SequenceClassifierOutput

    class MeanPooledClassifier(nn.Module):
        """Shapes: input_ids and attention_mask (rows, tokens) → logits (rows, labels)."""

        base_model_prefix = "encoder"

        def __init__(self, encoder: Any, labels: int) -> None:
            super().__init__()
            self.encoder = encoder
            self.config = encoder.config
            self.classifier = nn.Linear(encoder.config.hidden_size, labels)
            std = getattr(encoder.config, "initializer_range", 0.02)
            nn.init.normal_(self.classifier.weight, std=std)
            nn.init.zeros_(self.classifier.bias)

        def forward(self, input_ids: Any, attention_mask: Any, **inputs: Any) -> Any:
            states = self.encoder(
                input_ids=input_ids, attention_mask=attention_mask, **inputs
            ).last_hidden_state
            mean = mean_of_tokens(states, attention_mask)
            return SequenceClassifierOutput(
                logits=self.classifier(mean.to(self.classifier.weight.dtype))
            )

    return MeanPooledClassifier


def load(folder: Path, options: LoadOptions, *, labels: Sequence[str]) -> Loaded:
    """Load a base with a fresh head, or an exported folder with its trained one.

    An architecture that pools by itself (`classifier_pooling` in its configuration, as ModernBERT)
    is loaded as its plain class with that setting.
    """
    import torch
    from transformers import AutoModel, AutoModelForSequenceClassification

    from finetune.models.load import Loaded, read_config
    from finetune.models.load import load as load_plain

    config = read_config(folder)
    if hasattr(config, "classifier_pooling"):
        changes = {
            "classifier_pooling": "mean",
            "num_labels": len(labels),
            "id2label": dict(enumerate(labels)),
            "label2id": {label: index for index, label in enumerate(labels)},
        }
        return load_plain(
            folder,
            AutoModelForSequenceClassification,
            options,
            config_changes=changes,
            head_may_be_new=True,
        )
    encoder: Any = load_plain(folder, AutoModel, options, head_may_be_new=True).model
    pooler = None
    if "add_pooling_layer" in inspect.signature(type(encoder).__init__).parameters:
        # the head reads the states: a pooler would be weights without gradient
        pooler, encoder.pooler = encoder.pooler, None
    torch.manual_seed(options.seed)
    model: Any = module_class()(encoder, len(labels))
    model.unused = [pooler]  # in a list, so that it is no part of what is trained
    head = folder / HEAD / "model.safetensors"
    new = ["classifier"]
    if head.is_file():
        from safetensors.torch import load_file

        weights = load_file(head)
        if weights["linear.weight"].shape != model.classifier.weight.shape:
            raise ArtefactError(
                f"The head in `{folder}` has {len(weights['linear.bias'])} labels, "
                f"the data {len(labels)}."
            )
        model.classifier.load_state_dict(
            {"weight": weights["linear.weight"], "bias": weights["linear.bias"]}
        )
        new = []
    model.classifier.to(options.device)
    return Loaded(model.eval(), new)


def save(model: Any, tokenizer: Any, folder: Path, *, max_length: int | None) -> None:
    """Write a sentence-transformers folder whose embedding is the logits."""
    import copy
    import json

    from safetensors.torch import save_file

    encoder, pooler = model.encoder, model.unused[0]
    if pooler is not None:  # its class expects one, and says so when it has to make one up
        encoder.pooler = copy.deepcopy(pooler).to(encoder.device, encoder.dtype)
    encoder.save_pretrained(str(folder))
    if pooler is not None:
        encoder.pooler = None
    tokenizer.save_pretrained(str(folder))
    size, labels = model.classifier.in_features, model.classifier.out_features
    files = {
        "modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {
                "idx": 1,
                "name": "1",
                "path": "1_Pooling",
                "type": "sentence_transformers.models.Pooling",
            },
            {"idx": 2, "name": "2", "path": HEAD, "type": "sentence_transformers.models.Dense"},
        ],
        "sentence_bert_config.json": {"max_seq_length": max_length, "do_lower_case": False},
        "1_Pooling/config.json": {
            "word_embedding_dimension": size,
            "pooling_mode_mean_tokens": True,
        },
        f"{HEAD}/config.json": {
            "in_features": size,
            "out_features": labels,
            "bias": True,
            "activation_function": "torch.nn.modules.linear.Identity",
        },
    }
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    weights = {"linear.weight": model.classifier.weight, "linear.bias": model.classifier.bias}
    save_file(
        {k: v.detach().cpu().contiguous() for k, v in weights.items()},
        folder / HEAD / "model.safetensors",
    )
