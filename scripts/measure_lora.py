"""Measure LoRA computed in place beside PEFT's own forward: layer by layer, and whole steps.

    python scripts/measure_lora.py

Forward and backward pass of the same layer or model, one after the other, one thread; a ratio is
PEFT's least process time of several rounds divided by ours. Before it is measured the loss of both
is compared.
"""

from __future__ import annotations

import copy
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import torch
import transformers as hf
from torch import nn
from transformers.pytorch_utils import Conv1D

ROOT = Path(__file__).resolve().parents[1]
SIZES = {(64, 64): 50, (384, 384): 8, (896, 4864): 2, (4864, 896): 2}
"""Width in and out, and passes of a round."""
ROUNDS = 10


class Holder(nn.Module):
    """A model of one layer.

    Args:
        layer: The layer.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, states: Any) -> Any:
        """Return what the layer makes of states."""
        return self.layer(states)


def layer(kind: str, size: tuple[int, int]) -> nn.Module:
    """Return a frozen layer of a kind."""
    if kind == "Conv1D":
        return Conv1D(size[1], size[0])
    plain = nn.Linear(*size, bias=False)
    if kind == "Linear":
        return plain
    import bitsandbytes as bnb

    made = bnb.nn.Linear4bit(*size, bias=False, compute_dtype=torch.float32, quant_type="nf4")
    made.load_state_dict(plain.state_dict())
    return made.to("cpu")


def adapted(model: nn.Module, **options: Any) -> Any:
    """Return a model with an adapter that is not zero."""
    model.requires_grad_(False)
    found = peft.get_peft_model(model, peft.LoraConfig(r=8, lora_alpha=16, **options))
    with torch.no_grad():
        for name, weight in found.named_parameters():
            if "lora_" in name:
                weight.normal_(std=0.02)
    return found.train()


def ratio(theirs: Callable[[], Any], ours: Callable[[], Any], times: int, rounds: int) -> float:
    """Return PEFT's least time divided by ours, after comparing what both return."""
    wanted, found = theirs(), ours()
    if abs(float(wanted - found)) > 1e-4 * abs(float(wanted)):
        sys.exit(f"the losses differ: {float(wanted)} and {float(found)}")
    least = [float("inf")] * 2
    for _ in range(rounds):
        for place, action in enumerate((theirs, ours)):
            began = time.process_time()
            for _ in range(times):
                action()
            least[place] = min(least[place], time.process_time() - began)
    return least[0] / least[1]


def step(model: nn.Module, inputs: dict[str, Any], loss: Callable[[Any], Any]) -> Any:
    """Run forward and backward once and return the loss."""
    model.zero_grad()
    value = loss(model(**inputs))
    value.backward()
    return value.detach()


def layers(install: Callable[[Any], Any]) -> None:
    """Print a table of layers."""
    print("| layer | Linear | Conv1D | NF4 |\n|---|--:|--:|--:|", flush=True)
    for size, times in SIZES.items():
        cells = []
        for kind in ("Linear", "Conv1D", "NF4"):
            torch.manual_seed(0)
            options = {"target_modules": ["layer"], "fan_in_fan_out": kind == "Conv1D"}
            theirs = adapted(Holder(layer(kind, size)), **options)
            ours = copy.deepcopy(theirs)
            install(ours)
            given = {"states": torch.randn(4, 176, size[0], requires_grad=True)}
            weight = torch.randn(4, 176, size[1])

            def run(model: Any, given: Any = given, weight: Any = weight) -> Any:
                return step(model, given, lambda made: (made * weight).sum())

            cells.append(ratio(lambda: run(theirs), lambda: run(ours), times, ROUNDS))  # noqa: B023
        print(f"| {size[0]}→{size[1]} | {' | '.join(f'{one:.2f}' for one in cells)} |", flush=True)


def models() -> dict[str, Any]:
    """Return the models of which whole steps are measured."""
    llama = {"hidden_size": 384, "intermediate_size": 1024, "num_hidden_layers": 6,
             "num_attention_heads": 6}  # fmt: skip
    quiet = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    bert = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4,
            "intermediate_size": 1024, "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0}  # fmt: skip
    return {
        "Llama": hf.LlamaForCausalLM(hf.LlamaConfig(vocab_size=8000, **llama)),
        "Llama, 32,000 words": hf.LlamaForCausalLM(hf.LlamaConfig(vocab_size=32000, **llama)),
        "Llama, NF4": quantised(hf.LlamaForCausalLM(hf.LlamaConfig(vocab_size=8000, **llama))),
        "GPT-2": hf.GPT2LMHeadModel(
            hf.GPT2Config(vocab_size=8000, n_embd=384, n_layer=6, n_head=6, **quiet)
        ),
        "BERT": hf.BertForSequenceClassification(hf.BertConfig(vocab_size=8000, **bert)),
    }


def quantised(model: Any) -> Any:
    """Return a model with its layers in 4 bits."""
    options = hf.BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32
    )
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return type(model).from_pretrained(
            folder, quantization_config=options, device_map={"": "cpu"}
        )


def main() -> None:
    """Print layers and steps."""
    sys.path.insert(0, str(ROOT))
    from finetune.models.strategy import all_linear
    from finetune.training import fused_lora

    torch.set_num_threads(1)
    layers(fused_lora.install)
    ids = torch.randint(0, 8000, (4, 176))
    for name, model in models().items():
        labels = torch.randint(0, 2, (4,)) if name == "BERT" else ids
        inputs = {"input_ids": ids, "labels": labels}
        theirs = adapted(model, target_modules=all_linear(model, []))
        ours = copy.deepcopy(theirs)
        fused_lora.install(ours)

        def run(model: Any, inputs: Any = inputs) -> Any:
            return step(model, inputs, lambda made: made.loss)

        found = ratio(lambda: run(theirs), lambda: run(ours), 1, 5)  # noqa: B023
        print(f"a step of {name}: {found:.2f}", flush=True)


if __name__ == "__main__":
    main()
