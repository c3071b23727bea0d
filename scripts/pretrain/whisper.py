"""Pretrain the minute Whisper base on telephone sounds other than the keys of a telephone.

Four materials, all heard over a narrow line with noise, all of them older or other than DTMF (which
the `dialling` sample uses, and which the base never hears):

- R1 digits: two of five tones from 700 to 1500 Hz, as exchanges signalled to each other → "5 0 7"
- R2 digits: two of five tones from 1380 to 1860 Hz → "5 0 7"
- named tones: one of 26 tones, a semitone apart → "c f a"
- dial pulses: bursts of clicks to be counted → "three one"
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import torch
    from transformers import WhisperForConditionalGeneration, WhisperProcessor

SEED = 7
LINE_RATE = 8000
MODEL_RATE = 16000
SECONDS = 2  # the window of the encoder: 128 frames, 64 positions
HOP = 250
STEPS = 1200
BATCH = 32
PEAK_LEARNING_RATE = 1e-3
WARMUP = 100

WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
# Digits 1 to 9 and 0 in the order in which pairs of rising tones are numbered: 1+2, 1+3, 2+3, 1+4 …
PAIRS = sorted(itertools.combinations(range(5), 2), key=lambda pair: (pair[1], pair[0]))
R1 = (700.0, 900.0, 1100.0, 1300.0, 1500.0)
R2 = (1380.0, 1500.0, 1620.0, 1740.0, 1860.0)
NAMED = tuple(520 * 2 ** (semitone / 12) for semitone in range(26))

Part = tuple[np.ndarray, str]  # some samples, and the symbol that sounds through them, if any
Material = Callable[[np.random.Generator, int], tuple[list[Part], str]]

SPECIAL = (
    "<|endoftext|>",
    "<|startoftranscript|>",
    "<|en|>",
    "<|translate|>",
    "<|transcribe|>",
    "<|startoflm|>",
    "<|startofprev|>",
    "<|nospeech|>",
    "<|notimestamps|>",
)


def tone(symbol: str, frequencies: tuple[float, ...], seconds: float, twist: float) -> Part:
    """Return a tone of one or two frequencies in hertz with soft edges, and its symbol."""
    clock = np.arange(round(seconds * LINE_RATE)) / LINE_RATE
    wave = sum(
        twist**index * np.sin(2 * np.pi * frequency * clock)
        for index, frequency in enumerate(frequencies)
    )
    edge = np.minimum(1.0, np.minimum(clock, clock[::-1]) / 0.004)
    return np.asarray(wave * edge / np.sqrt(len(frequencies) / 2)), symbol


def silence(seconds: float) -> Part:
    """Return a pause, which sounds no symbol."""
    return np.zeros(round(seconds * LINE_RATE)), ""


def dual_tones(grid: tuple[float, ...], lowest: float, highest: float) -> Material:
    """Return a material of digits, each two tones of a grid."""

    def make(random: np.random.Generator, count: int) -> tuple[list[Part], str]:
        digits = random.integers(0, 10, count)
        pace, tuning = random.uniform(0.7, 1.4), random.uniform(0.99, 1.01)
        twist = 10 ** (random.uniform(-4, 4) / 20)
        parts = []
        for digit in digits:
            low, high = PAIRS[(digit - 1) % 10]
            pair = (grid[low] * tuning, grid[high] * tuning)
            parts.append(tone(str(digit), pair, pace * random.uniform(lowest, highest), twist))
            parts.append(silence(pace * random.uniform(0.045, 0.1)))
        return parts, " ".join(str(digit) for digit in digits)

    return make


def named_tones(random: np.random.Generator, count: int) -> tuple[list[Part], str]:
    """Return single tones and their letters."""
    names = random.integers(0, len(NAMED), count)
    pace, tuning = random.uniform(0.7, 1.4), random.uniform(0.995, 1.005)
    parts = []
    for name in names:
        length = pace * random.uniform(0.065, 0.12)
        parts.append(tone(chr(ord("a") + name), (NAMED[name] * tuning,), length, 1.0))
        parts.append(silence(pace * random.uniform(0.045, 0.1)))
    return parts, " ".join(chr(ord("a") + name) for name in names)


def dial_pulses(random: np.random.Generator, count: int) -> tuple[list[Part], str]:
    """Return bursts of clicks, ten for a zero, and their numbers as words."""
    digits = random.integers(0, 10, max(1, count // 2))
    pace, pitch = random.uniform(0.8, 1.2), random.uniform(400, 3000)
    parts = []
    for digit in digits:
        for _ in range(digit or 10):
            parts.append(tone(str(digit), (pitch,), 0.025 * pace, 1.0))
            parts.append((silence(0.035 * pace)[0], str(digit)))
        parts.append(silence(pace * random.uniform(0.2, 0.3)))
    return parts, " ".join(WORDS[digit] for digit in digits)


MATERIALS: dict[str, tuple[float, Material]] = {
    "r1": (0.35, dual_tones(R1, 0.065, 0.12)),
    "r2": (0.25, dual_tones(R2, 0.065, 0.12)),
    "named": (0.3, named_tones),
    "pulses": (0.1, dial_pulses),
}


class Clip(NamedTuple):
    """One clip of one material."""

    wave: np.ndarray  # at MODEL_RATE
    text: str
    symbols: list[str]  # what sounds at each position of the encoder, "" in a pause
    order: list[int]  # which symbol that is, counted from 1


def clip(random: np.random.Generator, longest: int, only: str | None = None) -> Clip:
    """Return a clip of one material, drawn by its share unless named."""
    import soxr

    names = list(MATERIALS)
    name = only or names[random.choice(len(names), p=[MATERIALS[item][0] for item in names])]
    parts, text = MATERIALS[name][1](random, int(random.integers(1, longest + 1)))
    parts = [silence(random.uniform(0.05, 0.4)), *parts, silence(SECONDS)]
    end = sum(len(samples) for samples, _ in parts[:-1]) + int(random.uniform(400, 2400))
    signal = np.concatenate([samples for samples, _ in parts])[: min(end, SECONDS * LINE_RATE)]
    noise = random.standard_normal(len(signal)) * 10 ** (-random.uniform(-2, 28) / 20)
    level = 10 ** (random.uniform(-40, -15) / 20)
    wave = soxr.resample((signal + noise) * level, LINE_RATE, MODEL_RATE).astype(np.float32)
    ends = np.cumsum([len(samples) for samples, _ in parts])
    centres = (np.arange(SECONDS * MODEL_RATE // HOP // 2) + 0.5) * 2 * HOP * LINE_RATE / MODEL_RATE
    at = np.searchsorted(ends, centres, side="right")
    sounding = [bool(symbol) for _, symbol in parts]
    begun = np.cumsum(
        [now and not before for before, now in itertools.pairwise([False, *sounding])]
    )
    return Clip(wave, text, [parts[index][1] for index in at], [int(begun[index]) for index in at])


def build_processor() -> WhisperProcessor:
    """Return a Whisper processor whose tokens are bytes and Whisper's special tokens."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import WhisperFeatureExtractor, WhisperProcessor, WhisperTokenizer

    characters = sorted(ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*characters, *SPECIAL])}
    tokenizer = WhisperTokenizer(
        vocab=vocabulary,
        merges=[],
        pad_token="<|endoftext|>",
        additional_special_tokens=list(SPECIAL[1:]),
        language="en",
        task="transcribe",
        model_max_length=128,
    )
    extractor = WhisperFeatureExtractor(
        feature_size=64, sampling_rate=MODEL_RATE, hop_length=HOP, chunk_length=SECONDS, n_fft=512
    )
    return WhisperProcessor(extractor, tokenizer)


def build_model(processor: WhisperProcessor) -> WhisperForConditionalGeneration:
    """Return the untrained network with its generation configuration."""
    from transformers import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration

    ids = {token: processor.tokenizer.convert_tokens_to_ids(token) for token in SPECIAL}
    end, start = ids["<|endoftext|>"], ids["<|startoftranscript|>"]
    common: dict[str, Any] = {
        "bos_token_id": end,
        "eos_token_id": end,
        "pad_token_id": end,
        "decoder_start_token_id": start,
    }
    config = WhisperConfig(
        **common,
        vocab_size=len(processor.tokenizer),
        num_mel_bins=processor.feature_extractor.feature_size,
        d_model=128,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=192,
        decoder_ffn_dim=192,
        max_source_positions=processor.feature_extractor.nb_max_frames // 2,
        max_target_positions=128,
        begin_suppress_tokens=None,
    )
    model = WhisperForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        **common,
        max_length=128,
        is_multilingual=True,
        language="en",
        task="transcribe",
        lang_to_id={"<|en|>": ids["<|en|>"]},
        task_to_id={"translate": ids["<|translate|>"], "transcribe": ids["<|transcribe|>"]},
        no_timestamps_token_id=ids["<|notimestamps|>"],
        prev_sot_token_id=ids["<|startofprev|>"],
        return_timestamps=False,
    )
    return model


def batch(processor: WhisperProcessor, clips: list[Clip]) -> dict[str, torch.Tensor]:
    """Return input features and labels; padding is -100, the end-of-text token is not."""
    features = processor.feature_extractor(
        [item.wave for item in clips], sampling_rate=MODEL_RATE, return_tensors="pt"
    ).input_features
    texts = [item.text for item in clips]
    encoded = processor.tokenizer(texts, padding=True, return_tensors="pt")
    labels = encoded.input_ids.masked_fill(encoded.attention_mask == 0, -100)[:, 1:]
    return {"input_features": features, "labels": labels}


def position_loss(
    encoded: torch.Tensor,
    symbol_head: torch.nn.Linear,
    order_head: torch.nn.Linear,
    clips: list[Clip],
    processor: WhisperProcessor,
) -> torch.Tensor:
    """Return the loss of saying what sounds at each position of the encoder, and which in order."""
    import torch
    from torch.nn.functional import cross_entropy

    names = processor.tokenizer.convert_tokens_to_ids
    pause = processor.tokenizer.eos_token_id
    symbols = torch.tensor(
        [[names(symbol) if symbol else pause for symbol in item.symbols] for item in clips]
    )
    order = torch.tensor([item.order for item in clips]).masked_fill(symbols == pause, -100)
    weight = torch.ones(symbol_head.out_features)
    weight[pause] = 0.2  # most of a clip is pause
    said = cross_entropy(symbol_head(encoded).flatten(0, 1), symbols.flatten(), weight=weight)
    return said + 0.5 * cross_entropy(order_head(encoded).flatten(0, 1), order.flatten())


def train(
    model: WhisperForConditionalGeneration, processor: WhisperProcessor, steps: int = STEPS
) -> float:
    """Train in place, short clips first; return the mean loss of the last 50 steps.

    The encoder also learns to say what sounds at each of its positions, in the decoder's own
    tokens, and which symbol in order it is, by a head that is thrown away. Without this the
    decoder learns the format of the texts and then sits for many hundreds of steps on that plateau
    before it starts to listen.
    """
    import torch

    random = np.random.default_rng(SEED)
    order_head = torch.nn.Linear(model.config.d_model, 8)
    parameters = [*model.parameters(), *order_head.parameters()]
    optimizer = torch.optim.AdamW(
        parameters, lr=PEAK_LEARNING_RATE, weight_decay=0.01, betas=(0.9, 0.98)
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        PEAK_LEARNING_RATE,
        total_steps=steps,
        pct_start=WARMUP / steps,
        cycle_momentum=False,
    )
    losses: list[tuple[float, float]] = []
    began = time.monotonic()
    model.train()
    for step in range(steps):
        longest = min(6, 2 + 8 * step // steps)
        clips = [clip(random, longest) for _ in range(BATCH)]
        inputs = batch(processor, clips)
        encoder = model.get_encoder()(inputs["input_features"])
        loss = model(encoder_outputs=encoder, labels=inputs["labels"]).loss
        named = position_loss(
            encoder.last_hidden_state, model.proj_out, order_head, clips, processor
        )
        (loss + named).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append((loss.item(), named.item()))
        if step % 50 == 49:
            mean, position = np.mean(losses[-50:], axis=0)
            seconds = time.monotonic() - began
            print(
                f"step {step + 1} loss {mean:.4f} at positions {position:.4f} {seconds:.0f} s",
                flush=True,
            )
    model.eval()
    return float(np.mean(losses[-50:], axis=0)[0])


def main(out: Path) -> None:
    """Pretrain the base and write it in Hugging Face format with its card."""
    import torch

    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    processor = build_processor()
    model = build_model(processor)
    train(model, processor)
    model.save_pretrained(out)
    processor.save_pretrained(out)
