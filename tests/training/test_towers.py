"""A frozen tower handed on: the same loss and gradient to the bit, or a reason against it."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import torch
import transformers as hf

from finetune.tasks.automatic_speech_recognition import AutomaticSpeechRecognition
from finetune.tasks.base import Task
from finetune.tasks.zero_shot_image_classification import ZeroShotImageClassification
from finetune.training import towers
from finetune.training.towers import Tower

SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
SEEN = {**SIZE, "intermediate_size": 64, "image_size": 16, "patch_size": 8}
READ = {**SIZE, "intermediate_size": 64, "vocab_size": 50, "max_position_embeddings": 16}


def clip(**more: Any) -> tuple[Task, Any, dict[str, torch.Tensor]]:
    config = hf.CLIPConfig(
        text_config={**READ, "eos_token_id": 2}, vision_config={**SEEN, **more}, projection_dim=16
    )
    return ZeroShotImageClassification(), hf.CLIPModel(config), pairs()


def siglip() -> tuple[Task, Any, dict[str, torch.Tensor]]:
    config = hf.SiglipConfig(text_config={**READ, "projection_size": 32}, vision_config=SEEN)
    return ZeroShotImageClassification(), hf.SiglipModel(config), pairs()


def pairs() -> dict[str, torch.Tensor]:
    return {
        "pixel_values": torch.randn(3, 3, 16, 16),
        "input_ids": torch.randint(3, 50, (3, 7)),
        "group": torch.arange(3),
    }


def whisper(**more: Any) -> tuple[Task, Any, dict[str, torch.Tensor]]:
    config = hf.WhisperConfig(
        vocab_size=50, d_model=32, num_mel_bins=16, max_source_positions=16,
        max_target_positions=20, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=64, decoder_ffn_dim=64, pad_token_id=0,
        bos_token_id=1, eos_token_id=2, decoder_start_token_id=1, **more,
    )  # fmt: skip
    labels = torch.randint(3, 50, (3, 6))
    labels[0, 4:] = -100
    batch = {
        "input_features": torch.randn(3, 16, 32),
        "labels": labels,
        "decoder_input_ids": torch.randint(3, 50, (3, 6)),
    }
    return AutomaticSpeechRecognition(), hf.WhisperForConditionalGeneration(config), batch


FAMILIES = {
    "clip": (clip, "vision_model"),
    "siglip": (siglip, "vision_model"),
    "whisper": (whisper, "model.encoder"),
}


@pytest.fixture(params=FAMILIES)
def family(request: Any) -> tuple[Task, Any, dict[str, torch.Tensor], str]:
    torch.manual_seed(0)
    make, name = FAMILIES[request.param]
    task, model, batch = make()
    model.get_submodule(name).requires_grad_(False)
    return task, model, batch, name


def find(task: Task, model: Any, batch: dict[str, torch.Tensor]) -> Tower | str:
    return towers.find(task, model, batch, contextlib.nullcontext)


def gradients(task: Task, model: Any, batch: dict[str, torch.Tensor]) -> tuple[Any, list[Any]]:
    model.train()
    model.zero_grad()
    total = sum(part.double().square().sum() for part in towers.outcome(task, model, batch))
    assert isinstance(total, torch.Tensor)
    total.backward()  # type: ignore[no-untyped-call]
    return total, [p.grad.clone() for p in model.parameters() if p.grad is not None]


def test_what_is_carried_gives_the_same_loss_and_gradient_to_the_bit(family: Any) -> None:
    task, model, batch, name = family
    tower = find(task, model, batch)
    assert isinstance(tower, Tower)
    assert tower.name == name
    wanted = gradients(task, model, batch)
    carried = {**batch, tower.key: towers.carried(tower.states(batch[tower.key]))}
    tower.install()
    found = gradients(task, model, carried)
    assert torch.equal(found[0], wanted[0])
    assert len(found[1]) == len(wanted[1]) > 10
    assert all(torch.equal(one, other) for one, other in zip(found[1], wanted[1], strict=True))


def test_the_layers_are_not_run_for_what_is_carried_and_are_for_what_is_not(family: Any) -> None:
    task, model, batch, name = family
    tower = find(task, model, batch)
    assert isinstance(tower, Tower)
    calls: list[None] = []
    inner = next(iter(model.get_submodule(name).children()))
    carried = {**batch, tower.key: towers.carried(tower.states(batch[tower.key]))}
    inner.register_forward_hook(lambda *_: calls.append(None))
    tower.install()
    towers.outcome(task, model, carried)
    assert not calls
    towers.outcome(task, model, batch)
    assert calls


def test_a_trained_tower_is_none(family: Any) -> None:
    task, model, batch, name = family
    next(model.get_submodule(name).parameters()).requires_grad_(True)
    assert find(task, model, batch) == towers.TRAINED


def test_a_frozen_embedding_below_trained_layers_is_not_worth_it(family: Any) -> None:
    task, model, batch, name = family
    part = model.get_submodule(name)
    (part.layers if hasattr(part, "layers") else part.encoder).requires_grad_(True)
    assert find(task, model, batch) == towers.TRAINED


def test_what_changes_at_random_is_computed_each_time() -> None:
    torch.manual_seed(0)
    task, model, batch = clip(attention_dropout=0.3)
    model.vision_model.requires_grad_(False)
    assert find(task, model, batch) == "it changes at random while training"


def test_layers_that_are_dropped_at_random_are_computed_each_time() -> None:
    torch.manual_seed(0)
    task, model, batch = whisper(encoder_layerdrop=0.01)
    model.model.encoder.requires_grad_(False)
    assert find(task, model, batch) == towers.RANDOM


def test_masked_spectrograms_are_computed_each_time() -> None:
    torch.manual_seed(0)
    task, model, batch = whisper(
        apply_spec_augment=True, mask_time_prob=0.5, mask_time_length=2, mask_time_min_masks=1
    )
    model.model.encoder.requires_grad_(False)
    before = batch["input_features"].clone()
    assert find(task, model, batch) == towers.WHOLE  # it would mask what is handed on
    assert torch.equal(batch["input_features"], before)


def test_rows_that_depend_on_each_other_are_computed_together() -> None:
    torch.manual_seed(0)
    task, model, batch = clip()
    model.vision_model.requires_grad_(False)
    norm = model.vision_model.post_layernorm
    norm.forward = lambda states: states + states.mean(0, keepdim=True)
    assert str(find(task, model, batch)).startswith("its rows depend on each other")


def test_text_alone_has_no_tower() -> None:
    task, model, batch = clip()
    only = {key: value for key, value in batch.items() if key != "pixel_values"}
    assert find(task, model, only) == "it sees no pictures or sound"


def test_the_model_is_left_as_it_was(family: Any) -> None:
    task, model, batch, name = family
    model.train()
    assert isinstance(find(task, model, batch), Tower)
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())
    assert "forward" not in vars(model.get_submodule(name))
