"""Pictures and sound for `benchmark.py`: models, rows, and what peers are given of them.

A peer is transformers' Trainer as its own examples use it: run_clip.py pads captions to 77 tokens
and prepares each picture when a batch asks for it; run_speech_recognition_seq2seq.py pads labels to
the longest of a batch and computes spectrograms once, here when they are first asked for, so that
everybody's are counted. `hf-best` pads captions to the longest of a batch too, and prepares each
picture once.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

RATE = 16_000
SIDE = 224
TINY = Path(__file__).resolve().parents[1] / "finetune/models/tiny"
CAPTION = 77
"""Tokens that run_clip.py pads to."""
SYLLABLES = [a + b for a in "bdfgklmnprst" for b in "aeiou"]


def text(words: int, chance: random.Random) -> str:
    """Return random words."""
    return " ".join("".join(chance.choices(SYLLABLES, k=2)) for _ in range(words))


def rows(architecture: str, count: int, folder: Path) -> list[dict[str, Any]]:
    """Write a file for each row and return the rows that name them."""
    chance = random.Random(count)
    (folder / "media").mkdir(parents=True)
    if architecture == "clip":
        return [
            {"image": picture(folder, number, chance), "text": text(chance.randint(3, 7), chance)}
            for number in range(count)
        ]
    return [
        {"audio": sound(folder, number, chance), "text": text(chance.randint(2, 8), chance)}
        for number in range(count)
    ]


def picture(folder: Path, number: int, chance: random.Random) -> str:
    """Write a smooth picture of the size of a small photograph, and return its name."""
    from PIL import Image

    small = Image.new("RGB", (6, 4))
    small.putdata([tuple(chance.randbytes(3)) for _ in range(24)])
    name = f"media/{number}.jpg"
    small.resize((480, 320), Image.Resampling.BICUBIC).save(folder / name, quality=90)
    return name


def sound(folder: Path, number: int, chance: random.Random) -> str:
    """Write noise of 2 to 12 seconds, and return its name."""
    import numpy as np
    import soundfile

    draw = np.random.default_rng(chance.randrange(1 << 30))
    samples = draw.normal(0, 0.1, int(RATE * chance.uniform(2, 12)))
    name = f"media/{number}.wav"
    soundfile.write(folder / name, samples.astype(np.float32), RATE)
    return name


def make_base(
    architecture: str,
    folder: Path,
    seed: int,
    layers: tuple[int, int],
    *,
    width: int = 384,
    patch: int = 16,
) -> None:
    """Write a model of random weights, with the tokenizer of our tiny model of that family.

    Args:
        architecture: clip or whisper.
        folder: Where it is written.
        seed: Of the weights.
        layers: Of pictures and text, or of encoder and decoder.
        width: Of Whisper.
        patch: Pixels of a side of the squares that CLIP sees.
    """
    import torch
    from transformers import (
        AutoConfig,
        AutoTokenizer,
        CLIPConfig,
        CLIPImageProcessorPil,
        CLIPModel,
        CLIPProcessor,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperProcessor,
    )

    tiny = TINY / architecture
    tokenizer, known = AutoTokenizer.from_pretrained(str(tiny)), AutoConfig.from_pretrained(tiny)
    torch.manual_seed(seed)
    model: Any
    processor: Any
    if architecture == "clip":
        wide = {"hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 1024}
        wider = {"hidden_size": 384, "num_attention_heads": 6, "intermediate_size": 1536}
        ends = {k: getattr(known.text_config, k) for k in ("eos_token_id", "bos_token_id")}
        model = CLIPModel(CLIPConfig(
            text_config={**wide, "num_hidden_layers": layers[1], "vocab_size": 49_408, **ends},
            vision_config={**wider, "num_hidden_layers": layers[0], "patch_size": patch},
            projection_dim=256,
        ))  # fmt: skip
        processor = CLIPProcessor(CLIPImageProcessorPil(), tokenizer)
    else:
        ends = {
            key: getattr(known, key)
            for key in ("eos_token_id", "bos_token_id", "pad_token_id", "decoder_start_token_id")
        }
        model = WhisperForConditionalGeneration(WhisperConfig(
            vocab_size=51_865, d_model=width, encoder_layers=layers[0], decoder_layers=layers[1],
            encoder_attention_heads=width // 64, decoder_attention_heads=width // 64,
            encoder_ffn_dim=4 * width, decoder_ffn_dim=4 * width, **ends,
        ))  # fmt: skip
        model.generation_config.suppress_tokens = model.generation_config.begin_suppress_tokens = []
        processor = WhisperProcessor(WhisperFeatureExtractor(), tokenizer)
    model.save_pretrained(str(folder))
    processor.save_pretrained(str(folder))


def load(architecture: str, base: Path, freeze: Sequence[str]) -> Any:
    """Return the model with some of its modules frozen."""
    import torch
    from transformers import CLIPModel, WhisperForConditionalGeneration

    kind: Any = CLIPModel if architecture == "clip" else WhisperForConditionalGeneration
    model = kind.from_pretrained(str(base), dtype=torch.float32)
    for name, module in model.named_modules():
        if name and name.rpartition(".")[2] in freeze:
            module.requires_grad_(False)
    return model


def inputs(
    architecture: str, name: str, folder: Path, encoded: Sequence[dict[str, Any]]
) -> tuple[Any, Callable[[Sequence[Any]], dict[str, Any]]]:
    """Return a peer's rows and its collator."""
    import soundfile
    import torch
    from PIL import Image
    from torch.nn.utils.rnn import pad_sequence
    from transformers import AutoFeatureExtractor, AutoImageProcessor

    def padded(items: Sequence[Any], key: str, value: int) -> torch.Tensor:
        return pad_sequence([torch.tensor(i[key]) for i in items], True, value)

    if architecture == "whisper":
        extractor = AutoFeatureExtractor.from_pretrained(str(folder / "base"))

        @functools.cache
        def spectrogram(name: str) -> Any:
            samples, _ = soundfile.read(folder / name, dtype="float32")
            return extractor(samples, sampling_rate=RATE)["input_features"][0]

        def heard(items: Sequence[Any]) -> dict[str, Any]:
            features = [torch.as_tensor(spectrogram(item["media"])) for item in items]
            return {
                "input_features": torch.stack(features),
                "labels": padded(items, "labels", -100),
                "decoder_input_ids": padded(items, "decoder_input_ids", 0),
            }

        return list(encoded), heard
    processor = AutoImageProcessor.from_pretrained(str(folder / "base"))

    def prepared(name: str) -> Any:
        with Image.open(folder / name) as found:
            return processor(found.convert("RGB"), return_tensors="pt")["pixel_values"][0]

    shown = functools.cache(prepared) if name == "hf-best" else prepared

    def seen(items: Sequence[Any]) -> dict[str, Any]:
        ids = padded(items, "input_ids", 0)
        mask = padded([{"mask": [1] * len(item["input_ids"])} for item in items], "mask", 0)
        if name == "hf":
            more = (0, CAPTION - ids.shape[1])
            ids = torch.nn.functional.pad(ids, more)
            mask = torch.nn.functional.pad(mask, more)
        return {
            "pixel_values": torch.stack([shown(item["media"]) for item in items]),
            "input_ids": ids,
            "attention_mask": mask,
            "return_loss": True,
        }

    return list(encoded), seen
