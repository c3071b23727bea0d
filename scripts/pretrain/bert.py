"""Pretrain the minute BERT: 0.7 M parameters, on messages to libraries, gyms, hotels and banks.

Two objectives at once, on generated messages (bert_material.py): masked words, and a contrastive
one (Khosla et al. 2020) that puts messages on one topic near each other in the pooled first token,
so that the pooler means something, as next-sentence prediction did for the original. The shop's
messages of the intents sample aren't among them.
"""

from __future__ import annotations

import math
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pretrain.bert_material import aside, message, read_topics

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast

SEED = 5
VOCABULARY = Path(__file__).with_name("bert_vocabulary.txt")
CONTEXT = 128
STEPS = 1_000
TOPICS_IN_BATCH, MESSAGES_OF_TOPIC = 10, 4
PEAK_LEARNING_RATE = 2e-3
WARMUP = 100
MASKED = 0.2  # of the tokens
ASIDE_SHARE = 0.2  # of the messages mention a second topic
TEMPERATURE = 0.1
CONTRAST_WEIGHT = 0.5

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def draw(topics: dict[str, list[str]], topic: str, rng: random.Random) -> str:
    """Return one message on a topic."""
    text = message(topics[topic], rng)
    if rng.random() < ASIDE_SHARE:
        extra = aside({name: topics[name] for name in topics if name != topic}, rng)
        text = f"{extra} {text}" if rng.random() < 0.5 else f"{text} {extra}"
    return text


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Make a lower-case WordPiece of the kept vocabulary.

    The vocabulary was learnt from the material once and is kept: tokenizers 0.23 breaks ties
    between pieces in another order each time, so that learning it anew gives other weights.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = VOCABULARY.read_text(encoding="utf-8").splitlines()
    vocabulary = {word: number for number, word in enumerate(words)}
    pieces = Tokenizer(models.WordPiece(vocab=vocabulary, unk_token="[UNK]"))
    pieces.normalizer = normalizers.BertNormalizer(lowercase=True)
    pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    pieces.decoder = decoders.WordPiece()
    pieces.post_processor = processors.BertProcessing(
        ("[SEP]", pieces.token_to_id("[SEP]")), ("[CLS]", pieces.token_to_id("[CLS]"))
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=pieces,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=CONTEXT,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def mask(
    ids: torch.Tensor, special: torch.Tensor, vocabulary: int, mask_id: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the tokens with some hidden (80 %), replaced (10 %) or kept, and which those are."""
    import torch

    chosen = (torch.rand(ids.shape) < MASKED) & ~special
    fate = torch.rand(ids.shape)
    hidden = torch.where(chosen & (fate < 0.8), mask_id, ids)
    other = torch.randint(len(SPECIAL), vocabulary, ids.shape)
    return torch.where(chosen & (fate >= 0.9), other, hidden), chosen


def contrast(pooled: torch.Tensor, topics: torch.Tensor) -> torch.Tensor:
    """Return the supervised contrastive loss: each message against all others of its batch."""
    import torch

    unit = torch.nn.functional.normalize(pooled, dim=1)
    own = torch.eye(len(unit), dtype=torch.bool)
    scores = (unit @ unit.T / TEMPERATURE).masked_fill(own, float("-inf"))
    same = (topics[:, None] == topics[None, :]) & ~own
    return -scores.log_softmax(1)[same].mean()


def main(out: Path) -> None:
    """Pretrain and write the folder."""
    import torch
    from transformers import BertConfig, BertForPreTraining

    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    rng, topics = random.Random(SEED + 1), read_topics()
    tokenizer = make_tokenizer()
    # With next-sentence weights only to have the pooler; they are dropped below.
    model = BertForPreTraining(
        BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=512,
            max_position_embeddings=CONTEXT,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            classifier_dropout=0.0,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=PEAK_LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.01
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: (
            min(1.0, (step + 1) / WARMUP) * 0.5 * (1 + math.cos(math.pi * min(1.0, step / STEPS)))
        ),
    )
    names, began, sums = list(topics), time.time(), [0.0, 0.0]
    model.train()
    for step in range(STEPS):
        chosen = [
            name for name in rng.sample(names, TOPICS_IN_BATCH) for _ in range(MESSAGES_OF_TOPIC)
        ]
        batch = tokenizer(
            [draw(topics, name, rng) for name in chosen],
            padding=True,
            truncation=True,
            return_special_tokens_mask=True,
            return_tensors="pt",
        )
        special = batch.pop("special_tokens_mask").bool()
        hidden, masked = mask(batch["input_ids"], special, len(tokenizer), tokenizer.mask_token_id)
        states, pooled = model.bert(
            input_ids=hidden,
            attention_mask=batch["attention_mask"],
            token_type_ids=batch["token_type_ids"],
            return_dict=False,
        )
        words = torch.nn.functional.cross_entropy(
            model.cls.predictions(states[masked]), batch["input_ids"][masked]
        )
        pulled = contrast(pooled, torch.tensor([names.index(name) for name in chosen]))
        optimizer.zero_grad()
        (words + CONTRAST_WEIGHT * pulled).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        sums = [sums[0] + words.item() / 100, sums[1] + pulled.item() / 100]
        if (step + 1) % 100 == 0:
            print(
                f"step {step + 1}: {sums[0]:.2f} nats a hidden token, contrast {sums[1]:.2f}, "
                f"{time.time() - began:.0f} s",
                flush=True,
            )
            sums = [0.0, 0.0]
    save(model, out)
    make_tokenizer().save_pretrained(out)  # the one in use remembers how it padded


def save(model: torch.nn.Module, out: Path) -> None:
    """Write a masked-LM checkpoint that also has the pooler, as the well-known BERTs have."""
    out.mkdir(parents=True, exist_ok=True)
    state = {
        name: value for name, value in model.state_dict().items() if "seq_relationship" not in name
    }
    state.pop("cls.predictions.decoder.weight")  # tied to the word embeddings
    state.pop("cls.predictions.decoder.bias")  # tied to cls.predictions.bias
    model.config.architectures = ["BertForMaskedLM"]
    model.config.dtype = "float32"
    model.config.save_pretrained(out)
    from safetensors.torch import save_file

    save_file(state, out / "model.safetensors", metadata={"format": "pt"})
