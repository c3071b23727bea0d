"""Bases to try things on: the project's minute ones, and one of random weights per architecture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from peft import PeftModel
from torch import nn

from finetune.models import merge, strategy
from finetune.models.load import Loaded, LoadOptions, Quantization, load

TINY = Path(__file__).resolve().parents[2] / "finetune" / "models" / "tiny"
NF4 = Quantization()
LORA = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear"}

Inputs = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Base:
    """A model to load, and inputs for it."""

    folder: Path
    auto_class: type
    inputs: Callable[[], Inputs]
    head: bool = False
    """Whether its head is new."""

    def load(self, *, quantized: bool = False, **options: Any) -> Loaded:
        """Load it as its task would."""
        return load(
            self.folder,
            self.auto_class,
            LoadOptions(quantization=NF4 if quantized else None, **options),
            config_changes={"num_labels": 3, "pad_token_id": 0} if self.head else None,
            head_may_be_new=self.head,
        )


def numbers(rows: int, columns: int, top: int = 90) -> torch.Tensor:
    """Return token ids, the same every time."""
    return torch.randint(3, top, (rows, columns), generator=torch.Generator().manual_seed(0))


def tokens() -> Inputs:
    """Inputs of an encoder or a decoder, the second row padded."""
    mask = torch.ones(2, 7, dtype=torch.long)
    mask[1, 5:] = 0
    return {"input_ids": numbers(2, 7), "attention_mask": mask}


def pairs() -> Inputs:
    """Inputs of an encoder with a decoder."""
    return {**tokens(), "decoder_input_ids": numbers(2, 4)}


def noise(*shape: int) -> torch.Tensor:
    """Return normal noise, the same every time."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def tiny_bases() -> dict[str, Base]:
    """Return the project's minute bases by family."""
    clip = transformers.AutoConfig.from_pretrained(str(TINY / "clip"))
    whisper = transformers.AutoConfig.from_pretrained(str(TINY / "whisper"))

    def seen() -> Inputs:
        size = clip.vision_config.image_size
        return {**tokens(), "pixel_values": noise(2, 3, size, size)}

    def heard() -> Inputs:
        frames = noise(2, whisper.num_mel_bins, 2 * whisper.max_source_positions)
        return {"input_features": frames, "decoder_input_ids": numbers(2, 4)}

    found = {
        "bert": (transformers.AutoModelForSequenceClassification, tokens, True),
        "t5": (transformers.AutoModelForSeq2SeqLM, pairs, False),
        "gpt": (transformers.AutoModelForCausalLM, tokens, False),
        "clip": (transformers.AutoModel, seen, False),
        "whisper": (transformers.AutoModelForSpeechSeq2Seq, heard, False),
    }
    return {name: Base(TINY / name, *rest) for name, rest in found.items()}


SMALL = {"vocab_size": 96, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
DECODER = {
    **SMALL,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "max_position_embeddings": 64,
}
ENCODER = {**SMALL, "intermediate_size": 128, "max_position_embeddings": 64, "pad_token_id": 0}


def whole_text() -> Inputs:
    """Inputs of SigLIP: captions of one length, no attention mask."""
    return {"input_ids": numbers(2, 16), "pixel_values": noise(2, 3, 32, 32)}


def spectrogram() -> Inputs:
    """Inputs of Whisper."""
    return {"input_features": noise(2, 8, 64), "decoder_input_ids": numbers(2, 4)}


@dataclass(frozen=True)
class Architecture:
    """What a model on the hub is made like."""

    config: Callable[[], Any]
    pretrained: str
    """Class that the checkpoint is saved as."""
    auto_class: str
    inputs: Callable[[], Inputs] = tokens
    head: bool = False

    def write(self, folder: Path) -> Base:
        """Save a checkpoint of random weights."""
        torch.manual_seed(0)
        config = self.config()
        model = getattr(transformers, self.pretrained)(config)
        model.save_pretrained(str(folder))
        return Base(folder, getattr(transformers, self.auto_class), self.inputs, self.head)


def whisper_config() -> Any:
    return transformers.WhisperConfig(
        vocab_size=96, num_mel_bins=8, d_model=64, encoder_layers=1, decoder_layers=1,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=128,
        decoder_ffn_dim=128, max_source_positions=32, max_target_positions=32,
        decoder_start_token_id=1, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip


def siglip_config() -> Any:
    text = {**ENCODER, "max_position_embeddings": 16, "projection_size": 64}
    vision = {
        "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 2, "image_size": 32, "patch_size": 16,
    }  # fmt: skip
    return transformers.SiglipConfig(text_config=text, vision_config=vision)


CLASSIFIER = "AutoModelForSequenceClassification"

ARCHITECTURES = {
    "distilbert": Architecture(
        lambda: transformers.DistilBertConfig(
            vocab_size=96, dim=64, n_layers=2, n_heads=2, hidden_dim=128, pad_token_id=0
        ),
        "DistilBertForMaskedLM", CLASSIFIER, head=True,
    ),
    "modernbert": Architecture(
        lambda: transformers.ModernBertConfig(**ENCODER, bos_token_id=1, eos_token_id=2,
                                              cls_token_id=1, sep_token_id=2),
        "ModernBertForMaskedLM", CLASSIFIER, head=True,
    ),
    "deberta-v2": Architecture(
        lambda: transformers.DebertaV2Config(
            **ENCODER, relative_attention=True, position_buckets=16, pos_att_type=["p2c", "c2p"],
            norm_rel_ebd="layer_norm", share_att_key=True, position_biased_input=False,
            pooler_hidden_size=64,
        ),
        "DebertaV2Model", CLASSIFIER, head=True,
    ),
    "roberta": Architecture(
        lambda: transformers.RobertaConfig(**ENCODER),
        "RobertaForMaskedLM", CLASSIFIER, head=True,
    ),
    "flan-t5": Architecture(
        lambda: transformers.T5Config(
            vocab_size=96, d_model=64, d_kv=32, d_ff=128, num_layers=2, num_heads=2,
            feed_forward_proj="gated-gelu", tie_word_embeddings=False, decoder_start_token_id=0,
        ),
        "T5ForConditionalGeneration", "AutoModelForSeq2SeqLM", pairs,
    ),
    "gpt2": Architecture(
        lambda: transformers.GPT2Config(
            vocab_size=96, n_embd=64, n_layer=2, n_head=2, n_positions=64, bos_token_id=1,
            eos_token_id=1,
        ),
        "GPT2LMHeadModel", "AutoModelForCausalLM",
    ),
    "gpt2-classifier": Architecture(
        lambda: transformers.GPT2Config(
            vocab_size=96, n_embd=64, n_layer=2, n_head=2, n_positions=64, bos_token_id=1,
            eos_token_id=1,
        ),
        "GPT2LMHeadModel", CLASSIFIER, head=True,
    ),
    "qwen3": Architecture(
        lambda: transformers.Qwen3Config(**DECODER, tie_word_embeddings=True),
        "Qwen3ForCausalLM", "AutoModelForCausalLM",
    ),
    "llama": Architecture(
        lambda: transformers.LlamaConfig(**DECODER, tie_word_embeddings=False),
        "LlamaForCausalLM", "AutoModelForCausalLM",
    ),
    "siglip": Architecture(siglip_config, "SiglipModel", "AutoModel", whole_text),
    "whisper": Architecture(
        whisper_config, "WhisperForConditionalGeneration", "AutoModelForSpeechSeq2Seq", spectrogram
    ),
}  # fmt: skip


def answers(model: Any, inputs: Inputs) -> torch.Tensor:
    """Return what a model says, as one tensor."""
    with torch.inference_mode():
        found = model(**inputs)
    if getattr(found, "logits", None) is not None:
        logits: torch.Tensor = found.logits
        return logits.float()
    return torch.cat([found.image_embeds, found.text_embeds]).float()


def adapted(found: Loaded, peft_type: str = "LORA", **options: Any) -> Any:
    """Return a loaded model with a fresh adapter."""
    wanted = options or LORA
    return strategy.apply(
        found.model, peft_type=peft_type, options=wanted, new_modules=found.new_modules
    )


def disturb(model: nn.Module, seed: int = 1) -> None:
    """Move every trainable weight, as training would."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.05 * torch.randn(parameter.shape, generator=generator)


def trained(base: Base, folder: Path, *, quantized: bool = False, peft_type: str = "LORA",
            **options: Any) -> Any:  # fmt: skip
    """Save a disturbed adapter as a checkpoint and return the model that it is on."""
    model = adapted(base.load(quantized=quantized), peft_type, **options)
    disturb(model)
    save(model, folder)
    return model.eval()


def save(model: PeftModel, folder: Path) -> None:
    """Save an adapter as the trainer does."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(str(folder), save_embedding_layers=False)


def merged(base: Base, checkpoint: Path) -> nn.Module:
    """Return the base with a saved adapter folded in."""
    return merge.merged(merge.with_adapter(base.load().model, checkpoint))


def answers_loss(model: Any, inputs: Inputs) -> torch.Tensor:
    """Return a number that every output has a part in."""
    found = model(**inputs)
    if getattr(found, "logits", None) is not None:
        outputs: torch.Tensor = found.logits
    else:
        outputs = torch.cat([found.image_embeds, found.text_embeds])
    weights = noise(*outputs.shape)
    return (outputs.float() * weights).sum()
