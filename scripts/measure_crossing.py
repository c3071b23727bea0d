"""Measure a decoder's attention that looks at its encoder's states, beside keys and values of each.

    python scripts/measure_crossing.py

Forward and backward pass of one attention layer of Whisper over 1,500 places for four rows, both
ways one after the other, one thread; a ratio is the process time with keys and values divided by
that without, each the least of several rounds. What both give is compared first. In parentheses is
what a run would not do, since it does not save enough.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import torch
import transformers as hf

ROOT = Path(__file__).resolve().parents[1]
PLACES, ROWS, ROUNDS = 1500, 4, 4
WIDTHS = (384, 768)
TOKENS = (8, 16, 24, 32, 48, 64)
KINDS = ("encoder frozen", "all trained", "LoRA, encoder frozen")


def least(work: Callable[[], Any]) -> float:
    """Return the least process time of several rounds, in seconds."""
    times = []
    for _ in range(ROUNDS):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return min(times)


def layer_of(width: int, kind: str) -> Any:
    """Return an attention layer of Whisper whose keys and values are of an encoder's states."""
    from transformers.models.whisper.modeling_whisper import WhisperAttention

    torch.manual_seed(0)
    config = hf.WhisperConfig(attn_implementation="sdpa")
    layer: Any = WhisperAttention(width, width // 64, is_decoder=True, layer_idx=0, config=config)
    if "LoRA" in kind:
        options = {"r": 8, "target_modules": ["q_proj", "k_proj", "v_proj", "out_proj"]}
        peft.inject_adapter_in_model(peft.LoraConfig(**options), layer)
    return layer


def measured(width: int, tokens: int, kind: str) -> str:
    """Return the ratio of one shape."""
    from finetune.training import attention, fused_lora
    from finetune.training.absorbed import Crossing, close, open_to

    layer = layer_of(width, kind)
    if "LoRA" in kind:
        fused_lora.install(layer)
    asking = torch.randn(ROWS, tokens, width, requires_grad=True)
    states = torch.randn(ROWS, PLACES, width, requires_grad="frozen" not in kind)

    def step() -> Any:
        seen = layer(asking, key_value_states=states)[0]
        seen.square().sum().backward()
        return seen.detach()

    wanted, before = step(), least(step)
    layer.config._attn_implementation = attention.NAME
    crossing = Crossing(layer, layer.k_proj, layer.v_proj)
    crossing.install()
    layer.register_forward_pre_hook(open_to, with_kwargs=True)
    layer.register_forward_hook(close, always_call=True)
    answers: list[bool] = []
    chosen = crossing.pays

    def pays(query: Any) -> bool:
        answers.append(chosen(query))
        return True

    vars(crossing)["pays"] = pays
    found, after = step(), least(step)
    apart = float((found - wanted).norm() / wanted.norm())
    if apart > 1e-5:
        sys.exit(f"{apart:.1e} off")
    return f"{before / after:.2f}" if answers[0] else f"({before / after:.2f})"


def main() -> None:
    """Print a table for each kind of training."""
    sys.path.insert(0, str(ROOT))
    torch.set_num_threads(1)
    print(f"| width | trained | {' | '.join(f'{tokens} tokens' for tokens in TOKENS)} |")
    print(f"|--:|---|{'--:|' * len(TOKENS)}")
    for width in WIDTHS:
        for kind in KINDS:
            ratios = " | ".join(measured(width, tokens, kind) for tokens in TOKENS)
            print(f"| {width} | {kind} | {ratios} |")


if __name__ == "__main__":
    main()
