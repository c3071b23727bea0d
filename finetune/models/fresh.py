"""Run in a fresh Python without this project: load a folder by its plain class and run it.

``python fresh.py FOLDER CLASS INPUTS OUTPUTS`` reads batches of tensors from a safetensors file,
named ``<batch>/<input>``, and writes ``<batch>/<output>``. CLASS is a class of transformers, or
``sentence-transformers`` for a folder that carries its own modules. Nothing of this project may be
imported here: the point is that others can load the folder without it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


def mean_of_tokens(states: Tensor, attention_mask: Tensor) -> Tensor:
    """Return the mean of the tokens that count, shape (rows, size)."""
    weights = attention_mask.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1).clamp(min=1e-9)


def outputs_of(found: Any, pick: Tensor | None) -> dict[str, Tensor]:
    """Return what answers are made from: logits at the chosen places, or embeddings."""
    plain = getattr(found, "logits", None) is not None
    names = ("logits",) if plain else ("image_embeds", "text_embeds")
    tensors = {name: getattr(found, name).float() for name in names}
    return {
        name: (value[pick] if pick is not None else value).contiguous()
        for name, value in tensors.items()
    }


def run(model: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Run every batch; ``pick`` masks the places whose logits are kept, where there is one."""
    import torch

    batches: dict[int, dict[str, Tensor]] = {}
    for name, tensor in inputs.items():
        number, key = name.split("/", 1)
        batches.setdefault(int(number), {})[key] = tensor
    results = {}
    device = next(model.parameters()).device
    for place, batch in sorted(batches.items()):
        pick = batch.pop("pick", None)
        with torch.inference_mode():
            found = model(**{key: value.to(device) for key, value in batch.items()})
        pick = pick.bool().to(device) if pick is not None else None
        kept = outputs_of(found, pick)
        results.update({f"{place}/{key}": value.cpu() for key, value in kept.items()})
    return results


def pooled(folder: str) -> nn.Module:
    """Read a sentence-transformers folder without that library: mean of tokens, one layer."""
    from types import SimpleNamespace

    import torch
    from safetensors.torch import load_file
    from transformers import AutoModel

    weights = load_file(Path(folder, "2_Dense", "model.safetensors"))

    class Pooled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = AutoModel.from_pretrained(folder)

        def forward(self, attention_mask: Tensor, **inputs: Tensor) -> Any:
            found = self.encoder(attention_mask=attention_mask, **inputs).last_hidden_state
            mean = mean_of_tokens(found, attention_mask).float()
            return SimpleNamespace(
                logits=mean @ weights["linear.weight"].float().T + weights["linear.bias"].float()
            )

    return Pooled().eval()


def main() -> None:
    """Do it."""
    folder, class_name, source, target = sys.argv[1:]
    os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
    import transformers
    from safetensors.torch import load_file, save_file

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    model: nn.Module
    if class_name == "sentence-transformers":
        model = pooled(folder)
    else:
        model = getattr(transformers, class_name).from_pretrained(folder).eval()
    save_file(run(model, load_file(source)), target)


if __name__ == "__main__":
    main()
