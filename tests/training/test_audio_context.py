"""A shorter context for sound: what it computes, and that the whole one stays what it was."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers as hf

from finetune.training import audio_context


def whisper(positions: int = 16) -> Any:
    torch.manual_seed(0)
    return hf.WhisperForConditionalGeneration(hf.WhisperConfig(
        vocab_size=50, d_model=32, num_mel_bins=16, max_source_positions=positions,
        max_target_positions=20, encoder_layers=2, decoder_layers=1, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=64, decoder_ffn_dim=64, pad_token_id=0,
        bos_token_id=1, eos_token_id=2, decoder_start_token_id=1, suppress_tokens=[],
        begin_suppress_tokens=[],
    )).eval()  # fmt: skip


def test_the_short_context_is_that_of_a_model_that_has_no_other() -> None:
    model, small = whisper(16), whisper(6)
    state = model.state_dict()
    name = "model.encoder.embed_positions.weight"
    small.load_state_dict({**state, name: state[name][:6]})
    encoder = audio_context.encoder_of(model)
    audio_context.shorten(encoder, 6)  # type: ignore[arg-type]
    sound = torch.randn(2, 16, 12)
    ids = torch.tensor([[1, 5, 6]] * 2)
    found = model(input_features=sound, decoder_input_ids=ids).logits
    assert torch.equal(found, small(input_features=sound, decoder_input_ids=ids).logits)


def test_the_whole_context_is_what_it_was_before_and_after_a_short_one() -> None:
    model, sound, ids = whisper(), torch.randn(2, 16, 32), torch.tensor([[1, 5, 6]] * 2)
    wanted = model(input_features=sound, decoder_input_ids=ids).logits
    audio_context.shorten(audio_context.encoder_of(model), 6)  # type: ignore[arg-type]
    for _ in range(2):
        assert torch.equal(model(input_features=sound, decoder_input_ids=ids).logits, wanted)
        model(input_features=sound[..., :12], decoder_input_ids=ids)
    with pytest.raises(ValueError, match="expects the mel input features to be of length 32"):
        model(input_features=sound[..., :10], decoder_input_ids=ids)
    assert torch.equal(model(input_features=sound, decoder_input_ids=ids).logits, wanted)


def test_answers_are_given_in_the_short_context_too() -> None:
    model = whisper()
    audio_context.shorten(audio_context.encoder_of(model), 6)  # type: ignore[arg-type]
    assert model.generate(input_features=torch.randn(1, 16, 12), max_new_tokens=3).shape[0] == 1


@pytest.mark.parametrize(
    ("seconds", "wanted"), [(2.0, 125), (0.01, 26), (29.9, 1500), (40.0, 1500)]
)
def test_positions_hold_the_longest_recording_with_half_a_second_of_silence(
    seconds: float, wanted: int
) -> None:
    conv1, conv2 = SimpleNamespace(stride=(1,)), SimpleNamespace(stride=(2,))
    encoder = SimpleNamespace(conv1=conv1, conv2=conv2, max_source_positions=1500)
    extractor = SimpleNamespace(sampling_rate=16_000, hop_length=160)
    assert audio_context.positions(encoder, extractor, seconds) == wanted


def test_spectrograms_are_cut_and_nothing_else_is() -> None:
    batch = {"input_features": torch.arange(40.0).view(1, 4, 10), "labels": torch.ones(1, 10)}
    cut = audio_context.cutting(lambda _: dict(batch), "input_features", 6)([])
    assert torch.equal(cut["input_features"], batch["input_features"][..., :6])
    assert torch.equal(cut["labels"], batch["labels"])


def test_a_model_of_texts_has_no_such_encoder() -> None:
    config = hf.GPT2Config(vocab_size=50, n_embd=32, n_layer=1, n_head=4)
    assert audio_context.encoder_of(hf.GPT2LMHeadModel(config)) is None
