"""One contestant of `benchmark.py` in a process of its own: trains an epoch, writes what it took.

    python scripts/benchmark_contestants.py FAMILY CONTESTANT FOLDER STEPS STARTED RESULT

It is called by `benchmark.py`. FOLDER is what `benchmark_families.prepare` made, STARTED the time
at which the process was asked for. The clock is one callback of transformers' Trainer, the same
for all: ours and TRL's are Trainers too.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import benchmark_dpo
from benchmark_families import LORA, MEDIA, SEED, SHARED, Family, family_of, settings
from benchmark_models import load

ROOT = Path(__file__).resolve().parents[1]
PEERS = {
    "trl": {},
    "trl-best": {"gradient_checkpointing": False, "padding_free": True, "max_length": None},
    "trl-liger": {"gradient_checkpointing": False, "max_length": None, "use_liger_kernel": True},
}
"""TRL's settings beside what all contestants share."""


def clock(started: float) -> Any:
    """Return a callback that notes when each step ends: seconds since the start, and of CPU."""
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        def __init__(self) -> None:
            self.ends: list[tuple[float, float]] = []
            self.began: tuple[float, float] | None = None

        def begin(self) -> None:
            """Note, once, that what everybody needs is there."""
            self.began = self.began or now(started)

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            del args, kwargs
            self.ends.append(now(started))

    return Clock()


def now(started: float) -> tuple[float, float]:
    """Return seconds since the start and of CPU; on a GPU the clock twice, once it is done."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.time() - started, time.time()
    return time.time() - started, time.process_time()


def peak() -> float:
    """Return the most memory taken: of the GPU where there is one, else of the process, in MB."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    # `ru_maxrss` of a process begins with what its parent had when it was started
    told = Path("/proc/self/status").read_text("utf-8")
    return int(told.partition("VmHWM:")[2].split()[0]) / 1024


def ours(family: Family, folder: Path, ticks: Any, contestant: str) -> dict[str, Any]:
    """Run the train stage on the prepared run."""
    from finetune import cli
    from finetune.runs import storage
    from finetune.runs.folder import RunFolder
    from finetune.stages import base_model
    from finetune.stages import train as stage

    inner = stage.make_trainer

    def with_clock(*args: Any, **kwargs: Any) -> Any:
        trainer = inner(*args, **kwargs)
        trainer.add_callback(ticks)
        ticks.begin()
        return trainer

    stage.make_trainer = with_clock
    shutil.rmtree(os.environ["FINETUNE_CACHE"], ignore_errors=True)
    if family.architecture == "dpo":
        benchmark_dpo.forget(folder)
        benchmark_dpo.begin_when_asked(ticks)  # before `make_trainer`: asking is counted
    config = cli.compose(settings(family, folder, contestant))
    run = RunFolder(Path(config.run.dir) / config.name)
    facts = stage.train(run, config, base_model.resolve(config))
    losses = [line["loss"] for line in storage.read_jsonl(run.metrics_log) if "loss" in line]
    return {
        "loss": statistics.fmean(losses),
        "trainable_parameters": facts["trainable_parameters"],
        "padding_free": facts["padding_free"],
        "frozen_part": bool(facts["frozen_part"]),
    }


def peer(family: Family, name: str, folder: Path, ticks: Any) -> dict[str, Any]:
    """Train the same rows as the peer's own examples do."""
    import torch
    from datasets import Dataset
    from transformers import AutoTokenizer

    rows = json.loads((folder / "encoded.json").read_text("utf-8"))
    if family.architecture in MEDIA:
        return peer_of_media(family, name, folder, ticks, rows)
    if family.architecture != "dpo":
        data = Dataset.from_list([{k: row[k] for k in ("input_ids", "labels")} for row in rows])
    tokenizer = AutoTokenizer.from_pretrained(str(folder / "base"))
    torch.manual_seed(SEED)
    model, kind = load(family, folder / "base")
    arguments = arguments_of(family, folder / name)
    lora = None
    if family.strategy != "full":
        from peft import LoraConfig

        lora = LoraConfig(task_type=kind, target_modules="all-linear", **LORA)
    if family.architecture == "dpo":
        benchmark_dpo.forget(folder)
        ticks.begin()
        trainer = benchmark_dpo.trainer(name, model, arguments, rows, tokenizer, lora)
    elif name == "hf":
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
    return {**trained(trainer, ticks), "padding_free": name == "trl-best"}


def arguments_of(family: Family, output: Path) -> dict[str, Any]:
    """Return the arguments that all peers are given."""
    return {
        "output_dir": str(output),
        "per_device_train_batch_size": family.batch,
        # rows of pictures and sound are written out for all epochs, in our order
        "num_train_epochs": 1 if family.architecture in MEDIA else family.epochs,
        "optim": "adamw_torch_fused",
        "use_cpu": family.device == "cpu",
        "bf16": family.device != "cpu",
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "seed": SEED,
        "train_sampling_strategy": "sequential",  # the batches of the other contestants
        **SHARED,
    }


def trained(trainer: Any, ticks: Any) -> dict[str, Any]:
    """Train, and return the mean loss and how many weights it was of."""
    trainer.add_callback(ticks)
    ticks.begin()
    done = trainer.train()
    return {
        "loss": done.training_loss,
        "trainable_parameters": sum(
            p.numel() for p in trainer.model.parameters() if p.requires_grad
        ),
        "frozen_part": False,
    }


def peer_of_media(
    family: Family, name: str, folder: Path, ticks: Any, rows: list[Any]
) -> dict[str, Any]:
    """Train pictures or sound with transformers' Trainer, as its examples do."""
    import benchmark_media
    import torch
    from transformers import Trainer, TrainingArguments

    data, collate = benchmark_media.inputs(family.architecture, name, folder, rows)
    arguments = {**arguments_of(family, folder / name), "remove_unused_columns": False}
    model = benchmark_media.load(family.architecture, folder / "base", family.freeze)
    if family.targets:
        from peft import LoraConfig, get_peft_model

        torch.manual_seed(SEED)
        model = get_peft_model(model, LoraConfig(target_modules=family.targets, **LORA))
    trainer = Trainer(
        model,
        TrainingArguments(**arguments),
        train_dataset=data,
        data_collator=collate,
    )
    return {**trained(trainer, ticks), "padding_free": False}


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


def steady(
    ends: list[tuple[float, float]],
    tokens: list[int],
    began: tuple[float, float] | None = None,
) -> dict[str, float]:
    """Return tokens a second from the end of the second step to the end of the last.

    Args:
        ends: Of each step: seconds since the start, and of CPU.
        tokens: Useful tokens of each step.
        began: When all work began that is counted, where that is not the end of the second step.
    """
    since = ends[1] if began is None else began
    wall, cpu = (after - before for before, after in zip(since, ends[-1], strict=True))
    useful = sum(tokens if began is not None else tokens[2:])
    return {"tokens_per_second": useful / wall, "tokens_per_cpu_second": useful / cpu}


def begin_as_the_command_does() -> None:
    """Do what `python -m finetune` does before anything is imported."""
    sys.path.insert(0, str(ROOT))
    from finetune import cli

    cli.settle()


def later(ends: list[tuple[float, float]], tokens: list[int], steps: int) -> float:
    """Return tokens per CPU second after the first epoch."""
    return sum(tokens[steps:]) / (ends[-1][1] - ends[steps - 1][1])


def main() -> None:
    """Train, and write the result."""
    name, contestant, folder, steps, started, result = sys.argv[1:]
    family = replace(family_of(name), steps=int(steps))
    if contestant.startswith("ours"):
        begin_as_the_command_does()
    ticks = clock(float(started))
    if contestant.startswith("ours"):
        facts = ours(family, Path(folder), ticks, contestant)
    else:
        facts = peer(family, contestant, Path(folder), ticks)
    rows = [row["length"] for row in json.loads((Path(folder) / "encoded.json").read_text())]
    tokens = [sum(rows[at : at + family.batch]) for at in range(0, len(rows), family.batch)]
    tokens *= family.epochs * family.rows // len(rows)
    if len(ticks.ends) != len(tokens) or not math.isfinite(facts["loss"]):
        sys.exit(f"{contestant}: {len(ticks.ends)} steps of {len(tokens)}, loss {facts['loss']}")
    measured = {
        "family": name,
        "contestant": contestant,
        "steps": len(tokens),
        **steady(ticks.ends, tokens, ticks.began if family.is_counted_whole else None),
        "later_epochs": later(ticks.ends, tokens, family.steps) if family.epochs > 1 else None,
        "first_step_seconds": ticks.ends[0][0],
        "first_step_cpu_seconds": ticks.ends[0][1],
        "peak_rss_mb": peak(),
        **facts,
    }
    if os.environ.get("RANK", "0") == "0":
        Path(result).write_text(json.dumps(measured), "utf-8")


if __name__ == "__main__":
    main()
