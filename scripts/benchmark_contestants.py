"""One contestant of `benchmark.py` in a process of its own: trains an epoch, writes what it took.

    python scripts/benchmark_contestants.py FAMILY CONTESTANT FOLDER STEPS STARTED RESULT

It is called by `benchmark.py`. FOLDER is what `benchmark_families.prepare` made, STARTED the time
at which the process was asked for. The clock is one callback of transformers' Trainer, the same
for all: ours and TRL's are Trainers too.
"""

from __future__ import annotations

import json
import math
import resource
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmark_families import FAMILIES, LORA, SEED, SHARED, Family, settings

ROOT = Path(__file__).resolve().parents[1]
PEERS = {
    "trl": {},
    "trl-best": {"gradient_checkpointing": False, "padding_free": True, "max_length": None},
}
"""TRL's settings beside what all contestants share."""


def clock(started: float) -> Any:
    """Return a callback that notes when each step ends: seconds since the start, and of CPU."""
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        def __init__(self) -> None:
            self.ends: list[tuple[float, float]] = []

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            del args, kwargs
            self.ends.append((time.time() - started, time.process_time()))

    return Clock()


def ours(family: Family, folder: Path, ticks: Any, *, padding_free: bool) -> dict[str, Any]:
    """Run the train stage on the prepared run."""
    sys.path.insert(0, str(ROOT))
    from finetune import cli
    from finetune.runs import storage
    from finetune.runs.folder import RunFolder
    from finetune.stages import base_model
    from finetune.stages import train as stage

    inner = stage.make_trainer

    def with_clock(*args: Any, **kwargs: Any) -> Any:
        trainer = inner(*args, **kwargs)
        trainer.add_callback(ticks)
        return trainer

    stage.make_trainer = with_clock
    config = cli.compose(settings(family, folder, padding_free=padding_free))
    run = RunFolder(Path(config.run.dir) / config.name)
    facts = stage.train(run, config, base_model.resolve(config))
    losses = [line["loss"] for line in storage.read_jsonl(run.metrics_log) if "loss" in line]
    return {
        "loss": statistics.fmean(losses),
        "trainable_parameters": facts["trainable_parameters"],
        "padding_free": facts["padding_free"],
    }


def peer(family: Family, name: str, folder: Path, ticks: Any) -> dict[str, Any]:
    """Train the same rows as the peer's own examples do."""
    import torch
    from datasets import Dataset
    from transformers import AutoTokenizer

    rows = json.loads((folder / "encoded.json").read_text("utf-8"))
    data = Dataset.from_list([{key: row[key] for key in ("input_ids", "labels")} for row in rows])
    tokenizer = AutoTokenizer.from_pretrained(str(folder / "base"))
    torch.manual_seed(SEED)
    model, kind = load(family, folder / "base")
    arguments = {
        "output_dir": str(folder / name),
        "per_device_train_batch_size": family.batch,
        "num_train_epochs": 1,
        "optim": "adamw_torch_fused",
        "use_cpu": True,
        "bf16": False,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "seed": SEED,
        "train_sampling_strategy": "sequential",  # the batches of the other contestants
        **SHARED,
    }
    lora = None
    if family.strategy == "lora":
        from peft import LoraConfig

        lora = LoraConfig(task_type=kind, target_modules="all-linear", **LORA)
    if name == "hf":
        trainer = plain(family, model, arguments, data, tokenizer, lora)
    else:
        from trl import SFTConfig, SFTTrainer

        trainer = SFTTrainer(
            model,
            args=SFTConfig(**{**arguments, **PEERS[name]}),
            train_dataset=data,
            processing_class=tokenizer,
            peft_config=lora,
        )
    trainer.add_callback(ticks)
    done = trainer.train()
    return {
        "loss": done.training_loss,
        "trainable_parameters": sum(
            p.numel() for p in trainer.model.parameters() if p.requires_grad
        ),
        "padding_free": name == "trl-best",
    }


def load(family: Family, base: Path) -> tuple[Any, str]:
    """Return the model with its head, and what PEFT calls the task."""
    import torch
    from transformers import (
        AutoModelForCausalLM,
        AutoModelForSeq2SeqLM,
        AutoModelForSequenceClassification,
    )

    options: dict[str, Any] = {"dtype": torch.float32}
    if family.architecture == "bert":
        options["num_labels"] = 8
        found = AutoModelForSequenceClassification.from_pretrained(str(base), **options)
        return found, "SEQ_CLS"
    if family.architecture == "t5":
        return AutoModelForSeq2SeqLM.from_pretrained(str(base), **options), "SEQ_2_SEQ_LM"
    return AutoModelForCausalLM.from_pretrained(str(base), **options), "CAUSAL_LM"


def plain(
    family: Family, model: Any, arguments: dict[str, Any], data: Any, tokenizer: Any, lora: Any
) -> Any:
    """Return transformers' Trainer with dynamic padding."""
    from transformers import (
        DataCollatorForSeq2Seq,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
    )

    collator: Any = DataCollatorWithPadding(tokenizer)
    if family.architecture == "t5":
        collator = DataCollatorForSeq2Seq(tokenizer, model=model)
    if lora is not None:
        from peft import get_peft_model

        model = get_peft_model(model, lora)
    return Trainer(
        model,
        TrainingArguments(**arguments),
        train_dataset=data,
        data_collator=collator,
        processing_class=tokenizer,
    )


def steady(ends: list[tuple[float, float]], tokens: list[int]) -> dict[str, float]:
    """Return tokens a second from the end of the second step to the end of the last.

    Args:
        ends: Of each step: seconds since the start, and of CPU.
        tokens: Useful tokens of each step.
    """
    wall, cpu = (after - before for before, after in zip(ends[1], ends[-1], strict=True))
    useful = sum(tokens[2:])
    return {"tokens_per_second": useful / wall, "tokens_per_cpu_second": useful / cpu}


def main() -> None:
    """Train, and write the result."""
    name, contestant, folder, steps, started, result = sys.argv[1:]
    family = replace(FAMILIES[name], steps=int(steps))
    ticks = clock(float(started))
    if contestant.startswith("ours"):
        facts = ours(family, Path(folder), ticks, padding_free=contestant == "ours")
    else:
        facts = peer(family, contestant, Path(folder), ticks)
    rows = [row["length"] for row in json.loads((Path(folder) / "encoded.json").read_text())]
    tokens = [sum(rows[at : at + family.batch]) for at in range(0, len(rows), family.batch)]
    if len(ticks.ends) != len(tokens) or not math.isfinite(facts["loss"]):
        sys.exit(f"{contestant}: {len(ticks.ends)} steps of {len(tokens)}, loss {facts['loss']}")
    measured = {
        "family": name,
        "contestant": contestant,
        "steps": len(tokens),
        **steady(ticks.ends, tokens),
        "first_step_seconds": ticks.ends[0][0],
        "first_step_cpu_seconds": ticks.ends[0][1],
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        **facts,
    }
    Path(result).write_text(json.dumps(measured), "utf-8")


if __name__ == "__main__":
    main()
