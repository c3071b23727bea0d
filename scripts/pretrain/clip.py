"""Pretrain the minute CLIP base on pictures and captions other than those of the `shapes` sample.

Drawings on white or pastel paper of one or two things, each in flat colour with a dark outline:
"a tiny pink star", "a big green bar over a big grey circle". Some words and shapes are also the
sample's (red, green, circle, square, above); its other colours, shapes, sizes, its wording and its
dark and speckled backgrounds never occur.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch
    from transformers import CLIPModel, CLIPProcessor, CLIPTokenizer

SEED = 3
STEPS = 1500
BATCH = 64
PEAK_LEARNING_RATE = 2e-3
WARMUP = 100
SIDE = 48  # pixels
TOKENS = 77  # CLIP's own length

SIZES = {"tiny": (4.0, 6.0), "big": (8.0, 11.0)}  # radius in pixels
COLOURS = {
    "red": (225, 40, 45),
    "green": (40, 170, 70),
    "pink": (250, 150, 190),
    "brown": (130, 80, 40),
    "grey": (140, 140, 140),
    "cyan": (60, 210, 220),
}
SHAPES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "circle": lambda x, y: x**2 + y**2 < 1,
    "square": lambda x, y: np.maximum(abs(x), abs(y)) < 0.85,
    "bar": lambda x, y: (abs(x) < 1) & (abs(y) < 0.4),
    "pole": lambda x, y: (abs(x) < 0.4) & (abs(y) < 1),
    "star": lambda x, y: np.hypot(x, y) < 0.7 + 0.3 * np.sin(5 * np.arctan2(y, x)),
    "bowl": lambda x, y: (x**2 + (y + 0.4) ** 2 < 1) & (y > -0.4),
}
# Direction of the first thing as seen from the second, (x, y) with y down
RELATIONS = {
    "above": (0, -1),
    "over": (0, -1),
    "under": (0, 1),
    "before": (-1, 0),
    "after": (1, 0),
}

Thing = tuple[str, str, str]  # size, colour, shape


def paint(
    picture: np.ndarray, thing: Thing, centre: tuple[float, float], draw: np.random.Generator
) -> None:
    """Draw one thing with its outline into a picture (SIDE, SIDE, 3) in place."""
    size, colour, shape = thing
    radius, turn = draw.uniform(*SIZES[size]), draw.uniform(-0.2, 0.2)
    axis = np.arange(SIDE) + 0.5
    x, y = axis[None, :] - centre[0], axis[:, None] - centre[1]
    x, y = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    picture[SHAPES[shape](x / (radius + 1), y / (radius + 1))] = 40
    tint = np.array(COLOURS[colour]) + draw.uniform(-15, 15, 3)
    picture[SHAPES[shape](x / radius, y / radius)] = tint


def drawing(draw: np.random.Generator) -> tuple[np.ndarray, str]:
    """Return one picture (SIDE, SIDE, 3), 0 to 255, and its caption."""
    picture = np.full((SIDE, SIDE, 3), draw.uniform(225, 255)) + draw.uniform(-20, 0, 3)
    things: list[Thing] = [
        (str(draw.choice([*SIZES])), str(draw.choice([*COLOURS])), str(draw.choice([*SHAPES])))
        for _ in range(draw.choice([1, 2], p=[0.2, 0.8]))
    ]
    names = ["a " + " ".join(thing) for thing in things]
    if len(things) == 1:
        paint(picture, things[0], (draw.uniform(14, 34), draw.uniform(14, 34)), draw)
        return picture.clip(0, 255).astype(np.uint8), names[0]
    relation = str(draw.choice([*RELATIONS]))
    step = np.array(RELATIONS[relation])
    middle = 24 + draw.uniform(-4, 4, 2) * (step == 0) + draw.uniform(-1, 1, 2)
    half = draw.uniform(10, 12)
    for thing, side in zip(things, (1, -1), strict=True):
        x, y = middle + side * half * step
        paint(picture, thing, (float(x), float(y)), draw)
    return picture.clip(0, 255).astype(np.uint8), f"{names[0]} {relation} {names[1]}"


def drawings(draw: np.random.Generator, count: int) -> tuple[list[np.ndarray], list[str]]:
    """Return pictures and captions; no caption twice, since a twin would be a false negative."""
    found: dict[str, np.ndarray] = {}
    while len(found) < count:
        picture, caption = drawing(draw)
        found.setdefault(caption, picture)
    return list(found.values()), list(found)


def merges() -> list[tuple[str, str]]:
    """Return the byte-pair merges, in order.

    They make one token of each word here and of some hundred everyday words, so that a caption of
    somebody else's takes a token or so a word. They were learnt once and are kept, because the
    trainer of `tokenizers` breaks ties otherwise in every process, and with the merges go the ids.
    """
    lines = Path(__file__).with_name("clip_merges.txt").read_text(encoding="utf-8").splitlines()
    return [(left, right) for left, right in map(str.split, lines)]


def build_tokenizer() -> CLIPTokenizer:
    """Return a CLIP tokenizer: some hundred and fifty words, and bytes for all others."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    alphabet = sorted(ByteLevel.alphabet())
    pairs = merges()
    tokens = [*alphabet, *(f"{token}</w>" for token in alphabet), *map("".join, pairs)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={token: index for index, token in enumerate(dict.fromkeys(tokens))},
        merges=pairs,
        model_max_length=TOKENS,
    )


def build_processor() -> CLIPProcessor:
    """Return the tokenizer with an image processor that needs Pillow alone."""
    from transformers import CLIPImageProcessorPil, CLIPProcessor

    images = CLIPImageProcessorPil(
        size={"shortest_edge": SIDE},
        crop_size={"height": SIDE, "width": SIDE},
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )
    return CLIPProcessor(images, build_tokenizer())


def build_model(processor: CLIPProcessor) -> CLIPModel:
    """Return the untrained network; every linear layer is a multiple of 64 wide."""
    from transformers import CLIPConfig, CLIPModel

    tokenizer = processor.tokenizer
    config = CLIPConfig(
        projection_dim=64,
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 64,
            "intermediate_size": 256,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": TOKENS,
            "projection_dim": 64,
            "bos_token_id": tokenizer.bos_token_id,
            # The text tower pools at the first of these, so it has to be the tokenizer's own.
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config={
            "hidden_size": 128,
            "intermediate_size": 256,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "image_size": SIDE,
            "patch_size": 8,
            "projection_dim": 64,
        },
    )
    return CLIPModel(config)


def batch(
    processor: CLIPProcessor, pictures: list[np.ndarray], captions: list[str]
) -> dict[str, torch.Tensor]:
    """Return padded model inputs."""
    from PIL import Image

    images = [Image.fromarray(picture) for picture in pictures]
    return dict(processor(text=captions, images=images, padding=True, return_tensors="pt"))


def train(model: CLIPModel, processor: CLIPProcessor, steps: int = STEPS) -> None:
    """Train in place on the contrast within each batch, printing the loss as it goes."""
    import torch

    draw = np.random.default_rng(SEED)
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_LEARNING_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, PEAK_LEARNING_RATE, total_steps=steps, pct_start=WARMUP / steps,
        cycle_momentum=False, anneal_strategy="linear",
    )  # fmt: skip
    began, mean = time.monotonic(), 0.0
    model.train()
    for step in range(1, steps + 1):
        inputs = batch(processor, *drawings(draw, BATCH))
        loss = model(**inputs, return_loss=True).loss
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
    processor = build_processor()
    model = build_model(processor)
    train(model, processor)
    model.save_pretrained(out)
    build_processor().save_pretrained(out)  # the one used here has kept its padding
