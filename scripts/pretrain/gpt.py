"""Pretrain the minute GPT: a Llama of 0.6 M parameters that writes lists in many forms.

Next-token prediction on generated conversations and notes (gpt_material.py), the assistant's words
weighing four times as much as the rest. The café orders of the chat sample aren't among them.
"""

from __future__ import annotations

import math
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pretrain.gpt_material import document

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

SEED = 11
VOCABULARY = 1024
CONTEXT = 512
BATCH = 24
LONGEST = 160  # tokens; longer documents are skipped in pretraining
WARMUP = 100
STEPS = 2_000
PEAK_LEARNING_RATE = 4e-3
OTHER_WEIGHT = 0.25  # of tokens that aren't the assistant's

SPECIAL = ["<|pad|>", "<|bos|>", "<|im_start|>", "<|im_end|>"]
CHAT_TEMPLATE = """\
{{ bos_token }}
{%- for message in messages %}
{{- '<|im_start|>' + message['role'] + '\\n' }}
{%- if message['role'] == 'assistant' %}
{%- generation %}
{{- message['content'] + '<|im_end|>' }}
{%- endgeneration %}
{{- '\\n' }}
{%- else %}
{{- message['content'] + '<|im_end|>\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- endif %}"""


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Learn a byte-level BPE from the material."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    rng = random.Random(SEED)
    texts: list[str] = []
    for _ in range(8_000):
        item = document(rng)
        texts += [item] if isinstance(item, str) else [turn["content"] for turn in item]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    # The roles come first, so that each is one token.
    bpe.train_from_iterator(["system", "user", "assistant"] * 20_000 + texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token="<|pad|>",
        bos_token="<|bos|>",
        eos_token="<|im_end|>",
        extra_special_tokens=["<|im_start|>"],
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
    )


def encode(
    tokenizer: PreTrainedTokenizerFast, item: list[dict[str, str]] | str
) -> tuple[list[int], list[float]]:
    """Return the tokens of a document and what each weighs in the loss."""
    if isinstance(item, str):
        ids = tokenizer(tokenizer.bos_token + item + tokenizer.eos_token)["input_ids"]
        return ids, [OTHER_WEIGHT] * len(ids)
    encoded = tokenizer.apply_chat_template(
        item, return_dict=True, return_assistant_tokens_mask=True
    )
    return encoded["input_ids"], [
        1.0 if own else OTHER_WEIGHT for own in encoded["assistant_masks"]
    ]


def batches(
    tokenizer: PreTrainedTokenizerFast,
) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Return all batches of pretraining, each of documents of similar length."""
    import torch

    rng = random.Random(SEED + 1)
    encoded = (encode(tokenizer, document(rng)) for _ in range(int(STEPS * BATCH * 1.1)))
    kept = [pair for pair in encoded if len(pair[0]) <= LONGEST][: STEPS * BATCH]
    result = []
    pool = BATCH * 50
    for start in range(0, len(kept), pool):
        part = sorted(kept[start : start + pool], key=lambda pair: len(pair[0]))
        groups = [part[i : i + BATCH] for i in range(0, len(part), BATCH)]
        rng.shuffle(groups)
        for group in groups:
            width = max(len(ids) for ids, _ in group)
            ids = torch.full((len(group), width), tokenizer.pad_token_id)
            weights, mask = (
                torch.zeros(len(group), width),
                torch.zeros(len(group), width, dtype=torch.long),
            )
            for row, (tokens, weight) in enumerate(group):
                ids[row, : len(tokens)] = torch.tensor(tokens)
                weights[row, : len(tokens)] = torch.tensor(weight)
                mask[row, : len(tokens)] = 1
            result.append((ids, weights, mask))
    return result


def learn(
    model: LlamaForCausalLM,
    material: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]],
) -> None:
    """Train on the batches once, with a warm-up and a cosine."""
    import torch
    from torch.nn.functional import cross_entropy

    optimizer = torch.optim.AdamW(
        model.parameters(), lr=PEAK_LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.01
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: (
            min(1.0, (step + 1) / WARMUP) * 0.5 * (1 + math.cos(math.pi * min(1.0, step / STEPS)))
        ),
    )
    began, sums = time.time(), [0.0, 0.0]
    for step, (ids, weights, mask) in enumerate(material):
        logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1]
        losses = (
            cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none") * weights[:, 1:]
        )
        loss = losses.sum() / weights[:, 1:].sum()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        own = weights[:, 1:] == 1.0
        sums = [sums[0] + float(losses.detach()[own].sum()), sums[1] + float(own.sum())]
        if (step + 1) % 100 == 0:
            print(
                f"step {step + 1}: {sums[0] / sums[1]:.3f} nats a token of the answer, "
                f"{time.time() - began:.0f} s",
                flush=True,
            )
            sums = [0.0, 0.0]


def main(out: Path) -> None:
    """Pretrain and write the folder."""
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    tokenizer = make_tokenizer()
    special = {
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=256,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=CONTEXT,
            tie_word_embeddings=True,
            attention_dropout=0.0,
            **special,
        )
    )
    model.train()
    learn(model, batches(tokenizer))
    model.generation_config = GenerationConfig(**special, do_sample=False, max_new_tokens=64)
    out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
