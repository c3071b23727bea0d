"""Pretrain the minute T5 base on dates and numbers written otherwise than in the `dates` sample.

Five materials, all text to text, character by character:

- numeric dates with the day first: "17/3/1998" → "1998-03-17"
- dates with an abbreviated month: "17 mar 1998" → "1998-03-17"
- American dates: "march 17, 1998" → "1998-03-17"
- ISO dates written out: "iso 1998-03-17" → "17 march 1998"
- cardinal numbers: "four hundred and twelve" → "412"

The sample's ordinals ("the seventeenth of march") occur in none of them.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast, T5ForConditionalGeneration

SEED = 5
STEPS = 3000
BATCH = 32
PEAK_LEARNING_RATE = 2e-3
WARMUP = 100
SPECIAL = ("<pad>", "</s>", "<unk>")

FIRST, DAYS = date(1850, 1, 1), 91_000  # to the year 2099
words = str.split
MONTHS = words(
    "january february march april may june july august september october november december"
)
ONES = words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
)
TENS = words("twenty thirty forty fifty sixty seventy eighty ninety")

Pair = tuple[str, str]


def cardinal(number: int) -> str:
    """Return a number from 0 to 999 in words ("four hundred and twelve")."""
    if number < len(ONES):
        return ONES[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return TENS[tens - 2] + (f"-{ONES[ones]}" if ones else "")
    hundreds, rest = divmod(number, 100)
    return f"{ONES[hundreds]} hundred" + (f" and {cardinal(rest)}" if rest else "")


def some_date(draw: random.Random) -> date:
    return FIRST + timedelta(days=draw.randrange(DAYS))


def numeric(draw: random.Random) -> Pair:
    day = some_date(draw)
    return f"{day.day}/{day.month}/{day.year}", day.isoformat()


def abbreviated(draw: random.Random) -> Pair:
    day = some_date(draw)
    return f"{day.day} {MONTHS[day.month - 1][:3]} {day.year}", day.isoformat()


def american(draw: random.Random) -> Pair:
    day = some_date(draw)
    return f"{MONTHS[day.month - 1]} {day.day}, {day.year}", day.isoformat()


def written_out(draw: random.Random) -> Pair:
    day = some_date(draw)
    return f"iso {day.isoformat()}", f"{day.day} {MONTHS[day.month - 1]} {day.year}"


def number(draw: random.Random) -> Pair:
    value = draw.randrange(10 ** draw.randint(1, 3))
    return cardinal(value), str(value)


MATERIALS: dict[str, Callable[[random.Random], Pair]] = {
    "numeric": numeric,
    "abbreviated": abbreviated,
    "american": american,
    "written_out": written_out,
    "number": number,
}


def pairs(draw: random.Random, count: int) -> list[Pair]:
    """Return pairs of source and target, materials in turn by chance."""
    materials = list(MATERIALS.values())
    return [draw.choice(materials)(draw) for _ in range(count)]


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer of bytes: no text is unknown to it, each comes back unchanged."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*SPECIAL, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", vocabulary["</s>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=512,
        clean_up_tokenization_spaces=False,
    )


def build_model(tokenizer: PreTrainedTokenizerFast) -> T5ForConditionalGeneration:
    """Return the untrained network; every linear layer but the head is a multiple of 64 wide."""
    from transformers import GenerationConfig, T5Config, T5ForConditionalGeneration

    ids = {
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "decoder_start_token_id": tokenizer.pad_token_id,
    }
    config = T5Config(
        **ids,
        vocab_size=len(tokenizer),
        d_model=128,
        d_kv=16,
        d_ff=256,
        num_layers=2,
        # Copying "1911" takes knowing where one is: with eight heads, and a bucket for each of the
        # nearest 16 positions on either side, that is learnt in a third of the steps.
        num_heads=8,
        relative_attention_num_buckets=64,
        dropout_rate=0.0,
    )
    model = T5ForConditionalGeneration(config)
    model.generation_config = GenerationConfig(**ids, max_new_tokens=64)
    return model


def batch(tokenizer: PreTrainedTokenizerFast, rows: list[Pair]) -> dict[str, torch.Tensor]:
    """Return padded inputs and labels; padded labels are -100."""
    inputs = tokenizer([source for source, _ in rows], padding=True, return_tensors="pt")
    targets = tokenizer([target for _, target in rows], padding=True, return_tensors="pt")
    labels = targets.input_ids.masked_fill(targets.attention_mask == 0, -100)
    return {
        "input_ids": inputs.input_ids,
        "attention_mask": inputs.attention_mask,
        "labels": labels,
    }


def train(
    model: T5ForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, steps: int = STEPS
) -> None:
    """Train in place, printing the loss as it goes."""
    import torch

    draw = random.Random(SEED)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=PEAK_LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.0
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, PEAK_LEARNING_RATE, total_steps=steps, pct_start=WARMUP / steps,
        cycle_momentum=False,
    )  # fmt: skip
    began, mean = time.monotonic(), 0.0
    model.train()
    for step in range(1, steps + 1):
        loss = model(**batch(tokenizer, pairs(draw, BATCH))).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        mean += loss.item() / 100
        if step % 100 == 0:
            print(f"step {step} loss {mean:.4f} {time.monotonic() - began:.0f} s", flush=True)
            mean = 0.0
    model.eval()


def main(out: Path) -> None:
    """Pretrain the base and write it in Hugging Face format; its card is kept as it is."""
    import torch

    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    tokenizer = build_tokenizer()
    model = build_model(tokenizer)
    print(json.dumps({"parameters": sum(item.numel() for item in model.parameters())}))
    train(model, tokenizer)
    model.save_pretrained(out)
    build_tokenizer().save_pretrained(out)  # the one used here has kept its padding
