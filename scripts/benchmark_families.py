"""What `benchmark.py` trains: small models of random weights and rows of lengths as they occur.

Every number here is fixed by a seed. A family is one model architecture with one strategy; what
our side trains is composed from the recipe a user would take, and what peers train are the token
ids that our task made of the same rows, in the order in which our side meets them.
"""

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WORDS = 8_000
SEED = 42
SHARED = {"learning_rate": 1e-4, "weight_decay": 0.0, "max_grad_norm": 1.0}
"""What every contestant's optimiser is told, under transformers' names."""
LORA = {"r": 8, "lora_alpha": 16, "lora_dropout": 0.0}


@dataclass(frozen=True)
class Family:
    """An architecture, a strategy, and the shape of the data."""

    name: str
    title: str
    architecture: str
    strategy: str
    recipe: str
    batch: int
    """Rows of an optimiser step, in one forward pass."""
    steps: int
    peers: tuple[str, ...]

    @property
    def rows(self) -> int:
        """Rows of an epoch."""
        return self.batch * self.steps

    @property
    def contestants(self) -> tuple[str, ...]:
        """Peers, then ours, then ours with padding left in."""
        return (*self.peers, "ours", "ours-padded")


FAMILIES = {
    family.name: family
    for family in (
        Family("bert-full", "BERT classification, full", "bert", "full",
               "bert/text_classification", 16, 12, ("hf",)),
        Family("bert-lora", "BERT classification, LoRA", "bert", "lora",
               "bert/text_classification", 16, 12, ("hf",)),
        Family("t5-full", "T5 text to text, full", "t5", "full", "t5/text2text", 8, 8, ("hf",)),
        Family("gpt-lora", "GPT chat, LoRA", "gpt", "lora", "gpt/chat", 4, 8,
               ("trl", "trl-best")),
        Family("gpt-full", "GPT chat, full", "gpt", "full", "gpt/chat", 4, 8,
               ("trl", "trl-best")),
    )
}  # fmt: skip


def lengths(
    count: int, median: float, sigma: float, low: int, high: int, chance: random.Random
) -> list[int]:
    """Return lengths of texts, lognormal within bounds."""
    drawn = (chance.lognormvariate(math.log(median), sigma) for _ in range(count))
    return [max(low, min(high, int(length))) for length in drawn]


def rows(architecture: str, count: int) -> list[dict[str, Any]]:
    """Return rows of random words; lengths as of sentences, of long sentences, and of chats."""
    chance = random.Random(count)

    def text(words: int) -> str:
        return " ".join(f"w{chance.randrange(WORDS - 10)}" for _ in range(words))

    if architecture == "bert":
        found = lengths(count, 24, 0.6, 6, 128, chance)
        return [{"text": text(n - 2), "label": f"c{i % 8}"} for i, n in enumerate(found)]
    if architecture == "t5":
        sources = lengths(count, 64, 0.7, 8, 256, chance)
        targets = lengths(count, 16, 0.6, 4, 64, chance)
        return [
            {"source": text(source - 1), "target": text(target - 1)}
            for source, target in zip(sources, targets, strict=True)
        ]
    made = []
    for length in lengths(count, 180, 0.9, 24, 1000, chance):
        asked = max(4, int((length - 2) * 0.45))
        turns = (("user", asked), ("assistant", length - 2 - asked))
        made.append({"messages": [{"role": who, "content": text(n)} for who, n in turns]})
    return made


def make_base(architecture: str, folder: Path) -> None:
    """Write a model of random weights with a tokenizer of one token per word."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import (
        BertConfig,
        BertModel,
        LlamaConfig,
        LlamaForCausalLM,
        PreTrainedTokenizerFast,
        T5Config,
        T5ForConditionalGeneration,
    )

    special = ["<pad>", "</s>", "<s>", "<unk>", "<cls>", "<sep>"]
    words = [*special, *(f"w{number}" for number in range(WORDS - len(special)))]
    inner = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    around = {"bert": "<cls> $A <sep>", "t5": "$A </s>"}.get(architecture)
    if around:
        inner.post_processor = processors.TemplateProcessing(
            single=around, special_tokens=[(token, words.index(token)) for token in special]
        )
    names = {"pad_token": "<pad>", "unk_token": "<unk>"}
    names |= (
        {"cls_token": "<cls>", "sep_token": "<sep>"}
        if architecture == "bert"
        else {"bos_token": "<s>", "eos_token": "</s>"}
    )
    PreTrainedTokenizerFast(tokenizer_object=inner, **names).save_pretrained(str(folder))
    torch.manual_seed(SEED)
    model: Any
    if architecture == "bert":  # without a head, as what is published
        model = BertModel(BertConfig(
            vocab_size=WORDS, hidden_size=256, num_hidden_layers=4, num_attention_heads=4,
            intermediate_size=1024, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
            pad_token_id=0,
        ))  # fmt: skip
    elif architecture == "t5":
        model = T5ForConditionalGeneration(T5Config(
            vocab_size=WORDS, d_model=256, d_kv=64, d_ff=1024, num_layers=4, num_heads=4,
            dropout_rate=0.0, pad_token_id=0, eos_token_id=1, decoder_start_token_id=0,
        ))  # fmt: skip
    else:
        model = LlamaForCausalLM(LlamaConfig(
            vocab_size=WORDS, hidden_size=256, num_hidden_layers=4, num_attention_heads=4,
            num_key_value_heads=4, intermediate_size=704, max_position_embeddings=2048,
            pad_token_id=0, eos_token_id=1, bos_token_id=2,
        ))  # fmt: skip
    model.save_pretrained(str(folder))


def settings(family: Family, folder: Path, *, padding_free: bool) -> list[str]:
    """Return what would be typed after `python -m finetune` to train a family."""
    chosen = [
        f"recipe={family.recipe}",
        f"model.name_or_path={folder / 'base'}",
        f"strategy={family.strategy}",
        f"data.path={folder / 'rows.jsonl'}",
        "data/clean=as_is",
        "data.cache=false",
        "data.split.train=1.0",
        "data.split.validation=0.0",
        "data.split.test=0.0",
        "data.split.near_duplicates=apart",
        f"run.dir={folder}",
        "name=run",
        f"seed={SEED}",
        "tracking.report_to=[]",
        "train.device=cpu",
        "train.precision=fp32",
        "train.num_train_epochs=1",
        f"train.global_batch_size={family.batch}",
        "train.warmup_ratio=0",
        "train.eval_strategy=no",
        "train.save_strategy=no",
        "train.resume=never",
        f"train.padding_free={str(padding_free).lower()}",
        *(f"train.{key}={value}" for key, value in SHARED.items()),
    ]
    if family.strategy == "lora":
        chosen += [f"strategy.{key}={value}" for key, value in LORA.items()]
    return chosen


def prepare(family: Family, folder: Path) -> None:
    """Make model and rows, run our prepare stage, and write what peers train beside it."""
    from finetune import cli
    from finetune.runs.folder import RunFolder
    from finetune.stages import base_model, job
    from finetune.stages import prepare as stage
    from finetune.stages import rows as prepared
    from finetune.training import sampling

    folder.mkdir(parents=True)
    make_base(family.architecture, folder / "base")
    lines = [json.dumps(row) for row in rows(family.architecture, family.rows)]
    (folder / "rows.jsonl").write_text("\n".join(lines), "utf-8")
    config = cli.compose(settings(family, folder, padding_free=True))
    run = RunFolder(Path(config.run.dir) / config.name)
    run.claim("{}\n", overwrite=True)
    job.begin(run, config, [])
    base = base_model.resolve(config)
    base_model.record(run, base)
    with run.stage("prepare"):
        stage.prepare(run, config, base)
    run.unlock()
    found = prepared.of(run, config.task, "train")
    if len(found) != family.rows:
        raise SystemExit(f"{family.name}: {family.rows} rows were made and {len(found)} are left")
    order = sampling.order(len(found), None, seed=SEED).epoch(0).rows
    kept = [
        {key: item[key] for key in ("input_ids", "labels")} | {"length": found.lengths[row]}
        for row, item in zip(order, found.fetch(order), strict=True)
    ]
    (folder / "encoded.json").write_text(json.dumps(kept), "utf-8")
