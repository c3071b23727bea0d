"""DPO in `benchmark.py`: pairs of answers to one question, and TRL's DPOTrainer as the peer.

Two epochs, so that what the base model says is worth keeping. The clock starts before it is asked:
ours and TRL's best setting ask about each row once before the first step, TRL by default asks at
every step. Tokens are those of both sequences of a pair, what was asked counted twice, as TRL's
layers see it.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

FAMILIES = tuple(
    (f"dpo-{strategy}", f"GPT preferences (DPO), {title}", "dpo", strategy, "gpt/dpo", 4, 8,
     ("trl-dpo", "trl-dpo-best"), 2)
    for strategy, title in (("lora", "LoRA"), ("full", "full"))
)  # fmt: skip
"""Arguments of a Family."""
PEERS: dict[str, dict[str, Any]] = {
    "trl-dpo": {},
    "trl-dpo-best": {"gradient_checkpointing": False, "precompute_ref_log_probs": True},
}
NAMES = {
    "trl-dpo": "TRL `DPOTrainer`, defaults",
    "trl-dpo-best": "TRL `DPOTrainer`, best settings",
}
ASKED, ANSWERED = (96, 0.6, 8, 512), (48, 0.6, 4, 256)
"""Median, spread, least and most tokens of what is asked, and of an answer."""


def rows(
    text: Callable[[int], str], lengths: Callable[..., list[int]], count: int, chance: random.Random
) -> list[dict[str, Any]]:
    """Return pairs of answers, lognormal lengths."""
    asked = lengths(count, *ASKED, chance)
    chosen, rejected = (lengths(count, *ANSWERED, chance) for _ in range(2))
    return [
        {"prompt": text(a - 1), "chosen": text(c - 1), "rejected": text(r - 1)}
        for a, c, r in zip(asked, chosen, rejected, strict=True)
    ]


def encoded(item: dict[str, Any]) -> dict[str, Any]:
    """Return a pair as TRL keeps it, and its tokens."""
    cut = item["chosen_tokens"]
    asked = next(place for place, label in enumerate(item["labels"]) if label != -100)
    ids = item["input_ids"]
    return {
        "prompt_ids": ids[:asked],
        "chosen_ids": ids[asked:cut],
        "rejected_ids": ids[cut + asked :],
        "length": len(ids),
    }


def forget(folder: Path) -> None:
    """Let nobody find what the base model said in an earlier round."""
    import datasets

    datasets.disable_caching()
    shutil.rmtree(folder / "run" / "reference", ignore_errors=True)


def begin_when_asked(ticks: Any) -> None:
    """Start our side's clock where the base model is asked, before anything else is trained."""
    from finetune.stages import reference

    inner = reference.ask

    def ask(*args: Any) -> Any:
        ticks.begin()
        return inner(*args)

    reference.ask = ask


class Epochs:
    """The order in which our side meets the rows, for TRL: a sampler that counts its epochs.

    Args:
        count: Rows, in the order of the first epoch.
        seed: Of our side's order.
    """

    def __init__(self, count: int, seed: int) -> None:
        from finetune.training import sampling

        self.order, self.count, self.epoch = sampling.order(count, None, seed=seed), count, 0

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Any:
        place = {row: n for n, row in enumerate(self.order.epoch(0).rows)}
        rows = self.order.epoch(self.epoch).rows
        self.epoch += 1
        return iter([place[row] for row in rows])


def trainer(
    name: str, model: Any, arguments: dict[str, Any], kept: Sequence[dict[str, Any]],
    tokenizer: Any, lora: Any,
) -> Any:  # fmt: skip
    """Return TRL's trainer with pairs that are tokens already."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    class Ready(DPOTrainer):
        def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
            del args, kwargs
            return dataset

        def _get_train_sampler(self, dataset: Any = None) -> Any:
            del dataset
            return Epochs(len(kept), arguments["seed"])

    data = Dataset.from_list([
        {"prompt": "", "chosen": "", "rejected": "", **{k: row[k] for k in row if k != "length"}}
        for row in kept
    ])  # fmt: skip
    return Ready(
        model,
        args=DPOConfig(**{**arguments, "max_length": None, **PEERS[name]}),
        train_dataset=data,
        processing_class=tokenizer,
        peft_config=lora,
    )
