"""What `benchmark.py` trains: small models of random weights and rows of lengths as they occur.

Every number here is fixed by a seed. A family is one model architecture with one strategy; what
our side trains is composed from the recipe a user would take, and what peers train are the token
ids that our task made of the same rows, in the order in which our side meets them.
"""

from __future__ import annotations

import json
import math
import os
import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import benchmark_dpo
import benchmark_media
from benchmark_models import WORDS, make_base

SEED = 42
SHARED = {"learning_rate": 1e-4, "weight_decay": 0.0, "max_grad_norm": 1.0}
"""What every contestant's optimiser is told, under transformers' names."""
DECODER = r".*decoder\.layers.*(_proj|fc1|fc2)"
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
    """Of an epoch."""
    peers: tuple[str, ...]
    epochs: int = 1
    freeze: tuple[str, ...] = ()
    plain: str = "ours-padded"
    """Ours with what the family is about switched off, or on."""
    layers: tuple[int, int] = (4, 4)
    """Of the two parts of a model of pictures or sound."""
    vocabulary: int = WORDS
    """Tokens that the model knows; rows are of the first `WORDS`."""
    targets: str = ""
    """Which modules get an adapter, as a regular expression; all linear ones if empty."""
    device: str = "cpu"
    shape: str = "small"
    """Of `SHAPES`."""
    patch: int = 16
    """Pixels of a side of the squares that a model of pictures sees."""

    @property
    def rows(self) -> int:
        """Rows of an epoch."""
        return self.batch * self.steps

    @property
    def contestants(self) -> tuple[str, ...]:
        """Peers, then ours, then ours with something switched off or on."""
        return (*self.peers, "ours", *([self.plain] if self.plain else []))

    @property
    def unit(self) -> str:
        """What is counted."""
        return {"clip": "pairs", "whisper": "recordings"}.get(self.architecture, "tokens")

    @property
    def is_counted_whole(self) -> bool:
        """Whether what comes before the first step counts: later epochs are spared it."""
        return self.epochs > 1


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
        Family("gpt-qlora", "GPT chat, QLoRA (NF4)", "gpt", "qlora", "gpt/chat", 4, 8,
               ("trl", "trl-best")),
        Family("gpt-words", "GPT chat, LoRA, 152,000 words", "gpt", "lora", "gpt/chat", 4, 5,
               ("trl", "trl-best"), vocabulary=152_000),
        *(Family(*one) for one in benchmark_dpo.FAMILIES),
        Family("clip-frozen", "CLIP, pictures' tower frozen, 10 epochs", "clip", "full",
               "clip/image_text", 16, 6, ("hf", "hf-best"), 10, ("vision_model",), "ours-anew"),
        Family("clip-full", "CLIP, everything trained", "clip", "full",
               "clip/image_text", 16, 6, ("hf", "hf-best")),
        Family("clip-32", "CLIP in squares of 32, as the recipe's, everything trained", "clip",
               "full", "clip/image_text", 16, 12, ("hf", "hf-best"), patch=32),
        Family("whisper-frozen", "Whisper, encoder frozen, 10 epochs", "whisper", "full",
               "whisper/transcription", 4, 6, ("hf",), 10, ("encoder",), "ours-keyed"),
        Family("whisper-deep", "Whisper of 8 and 1 layers (turbo has 32 and 4), LoRA on the "
               "decoder, 10 epochs", "whisper", "lora", "whisper/transcription", 4, 6, ("hf",), 10,
               plain="", layers=(8, 1), targets=DECODER),
        Family("whisper-full", "Whisper, everything trained", "whisper", "full",
               "whisper/transcription", 4, 6, ("hf",), plain="ours-short"),
    )
}  # fmt: skip
MEDIA = ("clip", "whisper")
GPU_FAMILIES = {
    family.name: family
    for family in (
        *(
            Family(f"{shape}-{strategy}", f"Llama-shaped {title}, {how}", "gpt", strategy,
                   "gpt/chat", 16, 12, ("trl", "trl-best", "trl-liger"), vocabulary=128_256,
                   device="cuda", shape=shape)
            for shape, title in (("llama-1b", "1B"), ("llama-8b", "8B"))
            for strategy, how in (("lora", "bf16 LoRA"), ("qlora", "QLoRA (NF4)"))
        ),
        Family("whisper-large", "Whisper-large-shaped, encoder frozen, 4 epochs", "whisper", "full",
               "whisper/transcription", 16, 4, ("hf",), 4, ("encoder",), "ours-anew", (32, 32),
               device="cuda", shape="whisper-large"),
    )
}  # fmt: skip
"""Real shapes, random weights; `BENCHMARK_REHEARSAL=1` shrinks them to run on a CPU."""
SWITCHES: dict[str, list[str]] = {
    "ours": [],
    "ours-padded": ["train.padding_free=false"],
    "ours-anew": ["train.frozen_cache=false"],
    "ours-keyed": ["train.absorbed_attention=false"],
    "ours-short": ["model.audio_context=auto"],
}
"""What is typed beside the settings of a family, for each of ours."""


def family_of(name: str) -> Family:
    """Return a family by its name, shrunk where this is a rehearsal of the GPU's."""
    if name in FAMILIES:
        return FAMILIES[name]
    family = GPU_FAMILIES[name]
    if os.environ.get("BENCHMARK_REHEARSAL") != "1":
        return family
    kept = tuple(peer for peer in family.peers if peer != "trl-liger")
    return replace(
        family, device="cpu", shape="small", vocabulary=WORDS, batch=4, peers=kept, layers=(1, 1)
    )


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
    if architecture == "dpo":
        return benchmark_dpo.rows(text, lengths, count, chance)
    made = []
    for length in lengths(count, 180, 0.9, 24, 1000, chance):
        asked = max(4, int((length - 2) * 0.45))
        turns = (("user", asked), ("assistant", length - 2 - asked))
        made.append({"messages": [{"role": who, "content": text(n)} for who, n in turns]})
    return made


def settings(family: Family, folder: Path, contestant: str = "ours") -> list[str]:
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
        f"train.device={family.device}",
        f"train.precision={'fp32' if family.device == 'cpu' else 'bf16'}",
        f"train.num_train_epochs={family.epochs}",
        f"train.global_batch_size={family.batch}",
        "train.warmup_ratio=0",
        "train.eval_strategy=no",
        "train.save_strategy=no",
        "train.resume=never",
        *SWITCHES[contestant],
        *(f"train.{key}={value}" for key, value in SHARED.items()),
    ]
    if family.strategy != "full":
        chosen += [f"strategy.{key}={value}" for key, value in LORA.items()]
    if family.targets:
        chosen.append(f'strategy.target_modules="{family.targets}"')
    if family.freeze:
        chosen.append(f"strategy.freeze=[{','.join(family.freeze)}]")
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
    is_media = family.architecture in MEDIA
    if is_media:
        width = 1280 if family.shape == "whisper-large" else 384
        benchmark_media.make_base(
            family.architecture,
            folder / "base",
            SEED,
            family.layers,
            width=width,
            patch=family.patch,
        )
        made = benchmark_media.rows(family.architecture, family.rows, folder)
    else:
        make_base(family, folder / "base", SEED)
        made = rows(family.architecture, family.rows)
    lines = [json.dumps(row) for row in made]
    (folder / "rows.jsonl").write_text("\n".join(lines), "utf-8")
    config = cli.compose(settings(family, folder))
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
    met = sampling.order(len(found), None, seed=SEED)
    epochs = range(family.epochs if is_media else 1)
    order = [row for epoch in epochs for row in met.epoch(epoch).rows]
    kept = (
        media(config.task, found, order, made)
        if is_media
        else [
            benchmark_dpo.encoded(item)
            if family.architecture == "dpo"
            else {key: item[key] for key in ("input_ids", "labels")}
            | {"length": found.lengths[row]}
            for row, item in zip(order, found.fetch(order), strict=True)
        ]
    )
    (folder / "encoded.json").write_text(json.dumps(kept), "utf-8")


def media(task: Any, found: Any, order: list[int], made: list[dict[str, Any]]) -> list[Any]:
    """Return what peers are given of rows with pictures or sound: the file, and our tokens."""
    files = {row["text"]: row.get("image") or row.get("audio") for row in made}
    if len(files) != len(made):
        raise SystemExit("two rows have one text, so that nobody could tell them apart")
    texts = [{"text": found.raw[row]["text"]} for row in order]
    kept = []
    for row, item in zip(texts, task.encode(texts), strict=True):
        keys = {key: item[key] for key in ("input_ids", "labels") if key in item}
        if "labels" in keys:
            keys["decoder_input_ids"] = [task.decoder_start, *keys["labels"][:-1]]
        kept.append({**keys, "media": files[row["text"]], "length": 1})
    return kept
