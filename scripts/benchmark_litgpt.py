"""LitGPT as a contestant of `benchmark_others.py`: run by the Python of its environment.

    python benchmark_litgpt.py prepare litgpt FOLDER
    python benchmark_litgpt.py train litgpt FOLDER STARTED RESULT

It calls `litgpt.finetune.lora.setup`, which is what `litgpt finetune_lora` calls, with a data
module that yields our token ids. That verb can neither clip nor let the learning rate fall in a
line, and divides by a warm-up of zero; its scheduler is therefore replaced by one that does what
all other contestants do, and that is where the clock ticks. What it trains with is its own.
"""

from __future__ import annotations

import contextlib
import json
import resource
import shutil
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from benchmark_families import FAMILIES, LORA, SEED, SHARED

BATCH = FAMILIES["gpt-lora"].batch
CHECKPOINT = "litgpt-base"


class Done(Exception):  # noqa: N818 - what comes after the last step is nobody's subject
    """Training is over; merging and saving would follow."""


def prepare(folder: Path) -> None:
    """Convert the base model with LitGPT's own function, and write its configuration."""
    import torch
    from litgpt.config import Config
    from litgpt.scripts.convert_hf_checkpoint import copy_weights_hf_llama
    from litgpt.utils import save_config
    from safetensors.torch import load_file

    base, converted = folder / "base", folder / CHECKPOINT
    facts = json.loads((base / "config.json").read_text("utf-8"))
    config = Config(
        name="llama",
        block_size=facts["max_position_embeddings"],
        vocab_size=facts["vocab_size"],
        padded_vocab_size=facts["vocab_size"],
        n_layer=facts["num_hidden_layers"],
        n_head=facts["num_attention_heads"],
        n_query_groups=facts["num_key_value_heads"],
        n_embd=facts["hidden_size"],
        head_size=facts["head_dim"],
        intermediate_size=facts["intermediate_size"],
        rope_base=int(facts["rope_parameters"]["rope_theta"]),
        norm_eps=facts["rms_norm_eps"],
        rotary_percentage=1.0,
        parallel_residual=False,
        bias=False,
        norm_class_name="RMSNorm",
        mlp_class_name="LLaMAMLP",
    )
    converted.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(base / name, converted / name)
    save_config(config, converted)
    weights: dict[str, Any] = {}
    copy_weights_hf_llama(config, {}, weights, load_file(str(base / "model.safetensors")))
    torch.save(weights, converted / "lit_model.pth")


def data_module(rows: list[dict[str, Any]]) -> Any:
    """Return a data module of rows that are token ids, in batches as LitGPT makes them."""
    import torch
    from litgpt.data import DataModule
    from litgpt.data.base import get_sft_collate_fn
    from torch.utils.data import DataLoader

    def sample(row: dict[str, Any]) -> dict[str, Any]:
        count = len(row["input_ids"])
        return {
            "input_ids": torch.tensor(row["input_ids"]),
            "labels": torch.tensor(row["labels"]),
            "token_counts": {"raw": count, "raw_plus_prompt_template": count},
        }

    class Rows(DataModule):
        def connect(self, *args: Any, **kwargs: Any) -> None:
            del args, kwargs

        def train_dataloader(self) -> Any:
            return DataLoader(
                [sample(row) for row in rows], batch_size=BATCH, collate_fn=get_sft_collate_fn()
            )

        def val_dataloader(self) -> Any:
            """Return one short row: LitGPT insists on an evaluation, which is before the clock."""
            short = min(rows, key=lambda row: len(row["input_ids"]))
            return DataLoader([sample(short)], collate_fn=get_sft_collate_fn())

    return Rows()


def scheduled(ends: list[tuple[float, float]], found: dict[str, Any], started: float) -> Any:
    """Return what takes the place of `get_lr_scheduler`: linear to 0, clipping, and the clock."""
    import torch

    def make(optimizer: Any, warmup_steps: int, max_steps: int) -> Any:
        del warmup_steps
        weights = [p for group in optimizer.param_groups for p in group["params"]]
        weights = [p for p in weights if p.requires_grad]
        found["trainable_parameters"] = sum(p.numel() for p in weights)
        getattr(optimizer, "optimizer", optimizer).register_step_pre_hook(
            lambda *_: torch.nn.utils.clip_grad_norm_(weights, SHARED["max_grad_norm"]) and None
        )

        class Linear(torch.optim.lr_scheduler.LambdaLR):
            is_built = False

            def step(self, *args: Any) -> None:
                super().step(*args)
                if self.is_built:
                    ends.append((time.time() - started, time.process_time()))

        scheduler = Linear(optimizer, lambda step: max(0.0, 1 - step / max_steps))
        scheduler.is_built = True
        return scheduler

    return make


def train(folder: Path, started: float) -> dict[str, Any]:
    """Train, and return what was measured."""
    from litgpt.args import EvalArgs, TrainArgs
    from litgpt.finetune import lora

    rows = json.loads((folder / "encoded.json").read_text("utf-8"))
    ends: list[tuple[float, float]] = []
    found: dict[str, Any] = {}

    def stop(seconds: float, counts: dict[str, int], device: str) -> str:
        del seconds, device
        found["token_count"] = counts["raw_tokens_plus_prompt_template"]
        found["peak_rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        raise Done

    lora.get_lr_scheduler = scheduled(ends, found, started)
    lora.create_finetuning_performance_report = stop
    losses = note_losses(lora)
    linear = ("query", "key", "value", "projection", "mlp")
    with contextlib.suppress(Done):
        lora.setup(
            folder / CHECKPOINT,
            out_dir=folder / "litgpt",
            precision="32-true",
            lora_r=LORA["r"],
            lora_alpha=LORA["lora_alpha"],
            lora_dropout=LORA["lora_dropout"],
            **{f"lora_{name}": True for name in linear},
            data=data_module(rows),
            train=TrainArgs(
                save_interval=None,
                log_interval=1,
                global_batch_size=BATCH,
                micro_batch_size=BATCH,
                lr_warmup_steps=0,
                epochs=1,
                max_steps=len(rows) // BATCH,
            ),
            eval=EvalArgs(interval=len(rows), max_new_tokens=1, final_validation=False),
            optimizer={
                "class_path": "torch.optim.AdamW",
                "init_args": {
                    "lr": SHARED["learning_rate"],
                    "weight_decay": SHARED["weight_decay"],
                    "fused": True,
                },
            },
            seed=SEED,
        )
    tokens = [
        sum(len(row["input_ids"]) for row in rows[at : at + BATCH])
        for at in range(0, len(rows), BATCH)
    ]
    if sum(tokens) != found.pop("token_count"):
        sys.exit("LitGPT counted other tokens than it was given")
    return {"ends": ends, "loss": statistics.fmean(losses), "tokens": tokens, **found}


def note_losses(lora: Any) -> list[float]:
    """Let LitGPT's running mean, of one step here, tell each loss that it logs."""
    losses: list[float] = []

    class Noted(lora.RunningMean):
        def compute(self) -> Any:
            value = super().compute()
            losses.append(float(value))
            return value

    lora.RunningMean = Noted
    return losses


def main() -> None:
    """Prepare, or train and write the result."""
    verb, _, folder, *rest = sys.argv[1:]
    if verb == "prepare":
        prepare(Path(folder))
        return
    started, result = rest
    measured = train(Path(folder), float(started))
    Path(result).write_text(json.dumps(measured), "utf-8")


if __name__ == "__main__":
    main()
