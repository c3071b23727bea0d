"""LLaMA-Factory as a contestant of `benchmark_others.py`: run by the Python of its environment.

    python benchmark_llamafactory.py prepare llamafactory FOLDER
    python benchmark_llamafactory.py train llamafactory FOLDER STARTED RESULT

The token ids are ours, under LLaMA-Factory's own `tokenized_path`, so that no template adds to
them. What is typed is what a user would type; the clock is that of all contestants.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from typing import Any

from benchmark_contestants import clock
from benchmark_families import FAMILIES, LORA, SEED, SHARED

BATCH = FAMILIES["gpt-lora"].batch
CHANGES: dict[str, dict[str, Any]] = {
    "llamafactory": {},
    "llamafactory-best": {"disable_gradient_checkpointing": True},
}
"""What is typed beside the settings that both share."""


def arguments(contestant: str, folder: Path) -> dict[str, Any]:
    """Return what would stand in the YAML file of `llamafactory-cli train`."""
    return {
        "stage": "sft",
        "do_train": True,
        "model_name_or_path": str(folder / "base"),
        "finetuning_type": "lora",
        "lora_rank": LORA["r"],
        "lora_alpha": LORA["lora_alpha"],
        "lora_dropout": LORA["lora_dropout"],
        "lora_target": "all",
        "dataset": "rows",  # asked for, and not read where rows are tokenized
        "template": "empty",
        "tokenized_path": str(folder / "llamafactory-rows"),
        "disable_shuffling": True,  # the batches of the other contestants
        "per_device_train_batch_size": BATCH,
        "gradient_accumulation_steps": 1,
        "num_train_epochs": 1.0,
        "lr_scheduler_type": "linear",
        "optim": "adamw_torch_fused",
        "output_dir": str(folder / contestant),
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "bf16": False,
        "seed": SEED,
        **SHARED,
        **CHANGES[contestant],
    }


def prepare(folder: Path) -> None:
    """Write our token ids as LLaMA-Factory stores its own."""
    from datasets import Dataset, DatasetDict

    rows = json.loads((folder / "encoded.json").read_text("utf-8"))
    columns = {key: [row[key] for row in rows] for key in ("input_ids", "labels")}
    columns["attention_mask"] = [[1] * len(row["input_ids"]) for row in rows]
    columns |= {key: [None] * len(rows) for key in ("images", "videos", "audios")}
    data = DatasetDict({"train": Dataset.from_dict(columns)})
    data.save_to_disk(str(folder / "llamafactory-rows"))


def watch() -> Any:
    """Return a callback that notes what is trained: tokens of each step, weights, loss, memory."""
    from transformers import TrainerCallback

    class Watch(TrainerCallback):
        def __init__(self) -> None:
            self.found: dict[str, Any] = {}

        def on_train_begin(
            self,
            args: Any,
            state: Any,
            control: Any,
            model: Any,
            train_dataloader: Any,
            **kwargs: Any,
        ) -> None:
            del args, state, control, kwargs
            data = train_dataloader.dataset
            order = list(train_dataloader.batch_sampler)
            self.found["tokens"] = [sum(len(data[i]["input_ids"]) for i in rows) for rows in order]
            self.found["trainable_parameters"] = sum(
                p.numel() for p in model.parameters() if p.requires_grad
            )

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            del args, kwargs
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            self.found["peak_rss_mb"] = peak / 1024

        def on_log(self, args: Any, state: Any, control: Any, logs: Any, **kwargs: Any) -> None:
            del args, state, control, kwargs
            if "train_loss" in logs:
                self.found["loss"] = float(logs["train_loss"])

    return Watch()


def train(contestant: str, folder: Path, started: float) -> dict[str, Any]:
    """Train, and return what was measured."""
    from llamafactory.train.tuner import run_exp

    ticks, watched = clock(started), watch()
    run_exp(arguments(contestant, folder), callbacks=[watched, ticks])
    return {"ends": ticks.ends, **watched.found}


def main() -> None:
    """Prepare, or train and write the result."""
    verb, contestant, folder, *rest = sys.argv[1:]
    if verb == "prepare":
        prepare(Path(folder))
        return
    started, result = rest
    measured = train(contestant, Path(folder), float(started))
    Path(result).write_text(json.dumps(measured), "utf-8")


if __name__ == "__main__":
    main()
