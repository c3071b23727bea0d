"""How many operations rows need at least, and how many a machine does in a second."""

from __future__ import annotations

import time
from typing import Any

import torch

SIZE, ROUNDS = 1024, 5
"""Of the matrix product that is timed."""
FORWARD, BACKWARD = 2, 2
"""FLOP per weight and token: forward, and each of the two products backward."""


class Need:
    """Counts what the rows of a batch need: weights that multiply tokens, and attention.

    Each weight costs 2 FLOP forward, 2 for the gradient of its input and, where it is trained, 2
    for its own: 6 N for full fine-tuning, 4 N for adapters (Kaplan et al. 2020, appendix B).

    Args:
        model: Without wrappers of ranks.
    """

    def __init__(self, model: Any) -> None:
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        prefix = getattr(base, "base_model_prefix", "")
        found = getattr(base, prefix, None) if prefix else None
        self.trunk: Any = found if isinstance(found, torch.nn.Module) else None
        config = getattr(base, "config", None)
        self.layers = getattr(config, "num_hidden_layers", 0)
        self.width = getattr(config, "hidden_size", 0)
        self.causal = "CausalLM" in "".join(getattr(config, "architectures", None) or ())
        divided = bool(getattr(config, "is_encoder_decoder", False))
        self.is_known = False
        self.per_token, self.per_label = 0, 0
        if self.trunk is None or not self.layers or not self.width or divided:
            return
        self.is_known = True
        tables = {
            id(module.weight) for module in base.modules() if isinstance(module, torch.nn.Embedding)
        }
        self.per_token = sum(
            cost(weight)
            for weight in self.trunk.parameters()
            if weight.dim() > 1 and id(weight) not in tables
        )
        head = base.get_output_embeddings() if hasattr(base, "get_output_embeddings") else None
        if head is not None and getattr(head, "weight", None) is not None:
            self.per_label = cost(head.weight)

    def of(self, batch: dict[str, Any]) -> tuple[int, float]:
        """Return tokens without padding, and their FLOP; 0 where that isn't known."""
        mask = batch.get("attention_mask")
        if not self.is_known or not isinstance(mask, torch.Tensor) or mask.dim() != 2:
            return 0, 0.0
        lengths = mask.sum(dim=1).double()
        tokens = int(lengths.sum())
        # Scores and their product with the values: 4 length² width forward, twice that backward.
        attention = 12.0 * float((lengths**2).sum()) * self.width * self.layers
        labels = batch.get("labels")
        labelled = int((labels != -100).sum()) if isinstance(labels, torch.Tensor) else 0
        flops = tokens * self.per_token + labelled * self.per_label
        return tokens, flops + attention * (0.5 if self.causal else 1.0)


def cost(weight: torch.Tensor) -> int:
    """Return the FLOP of a weight matrix for each token."""
    packed = getattr(weight, "quant_state", None)  # of bitsandbytes: two weights in a byte
    count = weight.numel() if packed is None else int(torch.Size(packed.shape).numel())
    return count * (FORWARD + BACKWARD * (2 if weight.requires_grad else 1))


def rate(device: Any, precision: str) -> float:
    """Return the FLOP per second of a large matrix product in the precision of training."""
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)
    size = SIZE if str(device) == "cpu" else 8 * SIZE
    left = torch.ones(size, size, device=device, dtype=dtype)
    wait = torch.cuda.synchronize if left.is_cuda else lambda: None
    best = float("inf")
    for _ in range(ROUNDS):
        wait()
        begun = time.perf_counter()
        torch.mm(left, left)
        wait()
        best = min(best, time.perf_counter() - begun)
    return 2.0 * size**3 / best
