"""Queries that look at an encoder's states: equal to keys and values, and left alone in doubt."""

from __future__ import annotations

import contextlib

import peft
import pytest
import torch
from torch import nn
from torch.nn import functional
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    T5Config,
    T5ForConditionalGeneration,
    WhisperConfig,
    WhisperForConditionalGeneration,
)

from finetune.stages import train as stage
from finetune.tasks.labelled import token_losses
from finetune.training import absorbed, absorbed_search, attention, fused_lora, unpadded
from finetune.training.segments import Crossed, Segments
from tests.training.drive import config_of, log_of, train

SIZES = {
    "vocab_size": 99, "d_model": 64, "encoder_layers": 1, "decoder_layers": 2,
    "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64, "pad_token_id": 1, "bos_token_id": 2, "eos_token_id": 3,
    "decoder_start_token_id": 2, "use_cache": False,
}  # fmt: skip


class Transcripts:
    """What is asked of a task."""

    def row_losses(self, model, batch):
        inputs = {key: value for key, value in batch.items() if key != "labels"}
        return token_losses(model, inputs, batch["labels"])


def whisper():
    torch.manual_seed(0)
    model = WhisperForConditionalGeneration(
        WhisperConfig(**SIZES, num_mel_bins=8, max_source_positions=50)
    )
    for name, weight in model.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(weight, std=0.3)
    return model


def heard(*lengths):
    """Return a batch of recordings with transcripts of some lengths."""
    torch.manual_seed(1)
    rows, longest = len(lengths), max(lengths)
    real = torch.arange(longest)[None] < torch.tensor(lengths)[:, None]
    labels = torch.randint(5, 99, (rows, longest)).where(real, torch.tensor(-100))
    return {
        "input_features": torch.randn(rows, 8, 100),
        "decoder_input_ids": torch.randint(5, 99, (rows, longest)),
        "decoder_attention_mask": real.long(),
        "labels": labels,
    }


def learned(model, batch, context=contextlib.nullcontext):
    """Return each row's loss, and the gradients of what is trained."""
    model.zero_grad()
    with context():
        losses = Transcripts().row_losses(model, batch)[0]
        losses.sum().backward()
    named = ((name, weight.grad) for name, weight in model.named_parameters())
    return losses.detach(), {name: grad.clone() for name, grad in named if grad is not None}


def prepare(model, batch):
    return absorbed_search.prepare(Transcripts(), model, batch, contextlib.nullcontext)


def crossings(model):
    return [vars(part)["crossing"] for part in model.modules() if is_crossing(part)]


def is_crossing(part):
    known = vars(part).get("crossing")
    return known is not None and known.module is part


def counted(model, monkeypatch):
    """Count how often queries look at states, and how often they pay."""
    seen = []
    inner = absorbed.Crossing.pays

    def pays(self, query):
        seen.append(inner(self, query))
        return seen[-1]

    monkeypatch.setattr(absorbed.Crossing, "pays", pays)
    return seen


def assert_alike(one, other):
    """Losses to 1e-5, gradients to 3e-5 of their size; a key's bias has none but for rounding."""
    assert torch.allclose(one[0], other[0], rtol=1e-5, atol=1e-5)
    assert one[1].keys() == other[1].keys()
    largest = max(float(grad.norm()) for grad in one[1].values())
    for name, grad in one[1].items():
        size = max(float(grad.norm()), 1e-3 * largest)
        assert float((grad - other[1][name]).norm()) <= 3e-5 * size, name


def full(model):
    return model


def with_frozen_encoder(model):
    model.model.encoder.requires_grad_(False)
    return model


def with_lora(model, targets=("q_proj", "k_proj", "v_proj")):
    options = {"r": 4, "lora_alpha": 10, "target_modules": list(targets)}
    adapted = peft.get_peft_model(model, peft.LoraConfig(**options))
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_" in name:
                weight.normal_(std=0.3)
    return adapted


def with_fused_lora(model):
    model = with_lora(model)
    assert fused_lora.install(model) is None
    return model


def with_lora_on_values_alone(model):
    """Adapt what most do: queries and values, so that keys are plain."""
    return with_lora(model, ("q_proj", "v_proj"))


STRATEGIES = [full, with_frozen_encoder, with_lora, with_fused_lora, with_lora_on_values_alone]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("is_padded", [True, False], ids=["padded", "unpadded"])
def test_losses_and_gradients_are_those_of_keys_and_values(strategy, is_padded, monkeypatch):
    batch = heard(3, 7, 5)
    wanted = learned(strategy(whisper()), batch)
    model = strategy(whisper())
    context = contextlib.nullcontext if is_padded else unpadded.layers
    if not is_padded:
        lend(model, batch)
    assert prepare(model, batch) == (2, None)
    seen = counted(model, monkeypatch)
    assert_alike(learned(model, batch, context), wanted)
    assert seen == [True, True]


def lend(model, batch):
    """Let the decoder see no padding."""

    class Rows(list):
        lengths = (3, 7, 5)

        def fetch(self, chosen):
            return chosen

    class Task(Transcripts):
        def collate(self, chosen):
            return {key: value[chosen] for key, value in batch.items()}

    assert unpadded.prepare(Task(), model, Rows(range(3)), contextlib.nullcontext) is None


def test_each_row_of_an_unpadded_batch_looks_at_its_own_recording(monkeypatch):
    # rows are sorted by length within; one that looked at another's would change with it
    batch = heard(7, 3, 5)
    model = with_frozen_encoder(whisper())
    lend(model, batch)
    assert prepare(model, batch) == (2, None)
    before = learned(model, batch, unpadded.layers)[0]
    changed = {**batch, "input_features": batch["input_features"].clone()}
    changed["input_features"][1] += 1
    after = learned(model, changed, unpadded.layers)[0]
    assert torch.equal(before[[0, 2]], after[[0, 2]])
    assert not torch.allclose(before[1], after[1])


def test_an_unpadded_batch_may_have_keys_and_values_too(monkeypatch):
    batch = heard(3, 7, 5)
    wanted = learned(whisper(), batch)
    model = whisper()
    lend(model, batch)
    assert prepare(model, batch) == (2, None)
    monkeypatch.setattr(absorbed.Crossing, "pays", never_pays)
    assert_alike(learned(model, batch, unpadded.layers), wanted)


def never_pays(crossing, query):
    del crossing, query
    return False


def test_many_queries_have_keys_and_values_made_as_ever(monkeypatch):
    batch = heard(40, 40)
    wanted = learned(whisper(), batch)
    model = whisper()
    assert prepare(model, batch) == (2, None)
    seen = counted(model, monkeypatch)
    found = learned(model, batch)
    assert seen == [False, False]
    assert torch.equal(found[0], wanted[0])


@pytest.mark.parametrize(
    ("strategy", "most"),
    [
        (full, 24),  # 0.75 of a head's width: both save the same share
        (with_frozen_encoder, 24),
        (with_lora, 16),  # no gradient of the matrices would be made: less is saved
    ],
)
def test_what_is_less_to_compute_is_counted(strategy, most):
    model = strategy(whisper())
    prepare(model, heard(3, 7))
    crossing = crossings(model)[0]
    crossing.states = torch.zeros(1, 50, 64, requires_grad=strategy is not with_frozen_encoder)
    asked = [n for n in range(1, 60) if crossing.pays(torch.zeros(1, 2, n, 32))]
    assert asked == list(range(1, most + 1))
    with torch.no_grad():
        asked = [n for n in range(1, 60) if crossing.pays(torch.zeros(1, 2, n, 32))]
        assert asked == list(range(1, 24 + 1))


def test_activations_can_be_computed_again(monkeypatch):
    batch = heard(3, 7, 5)
    wanted = learned(whisper().train(), batch)
    model = whisper().train()
    assert prepare(model, batch) == (2, None)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    seen = counted(model, monkeypatch)
    assert_alike(learned(model, batch), wanted)
    assert seen == [True] * 4


def test_answers_are_generated_from_a_cache_as_before():
    batch = heard(4, 4)
    settings = {"max_new_tokens": 6, "do_sample": False, "use_cache": True}
    model = whisper().eval()
    wanted = model.generate(batch["input_features"], **settings)
    assert prepare(model, batch) == (2, None)
    assert torch.equal(model.generate(batch["input_features"], **settings), wanted)


def test_an_adapter_that_is_switched_off_afterwards_is_off(monkeypatch):
    batch = heard(3, 7)
    model = with_fused_lora(whisper())
    with model.disable_adapter():
        wanted = Transcripts().row_losses(model, batch)[0]
    assert prepare(model, batch) == (2, None)
    seen = counted(model, monkeypatch)
    with model.disable_adapter():
        assert torch.equal(Transcripts().row_losses(model, batch)[0], wanted)
    assert seen == [False, False]


def test_nothing_is_left_behind_in_a_module():
    batch = heard(3, 7)
    model = whisper()
    assert prepare(model, batch) == (2, None)
    Transcripts().row_losses(model, batch)
    for crossing in crossings(model):
        assert crossing.states is None
        assert not crossing.is_open
    assert set(model.state_dict()) == set(whisper().state_dict())


def test_a_module_that_failed_is_closed():
    batch = heard(3, 7)
    model = whisper()
    prepare(model, batch)
    layer = model.model.decoder.layers[0].encoder_attn
    layer.out_proj.register_forward_pre_hook(fail)
    with pytest.raises(ArithmeticError):
        Transcripts().row_losses(model, batch)
    assert vars(layer)["crossing"].states is None
    assert not vars(layer)["crossing"].is_open


def fail(module, args):
    raise ArithmeticError


def test_another_model_with_an_encoder_is_found_by_running_it(monkeypatch):
    torch.manual_seed(0)
    batch = {
        "input_ids": torch.randint(5, 99, (2, 40)),
        "attention_mask": (torch.arange(40)[None] < torch.tensor([40, 31])[:, None]).long(),
        **{key: value for key, value in heard(3, 7).items() if key != "input_features"},
    }
    plain, model = (bart() for _ in range(2))
    wanted = learned(plain, batch)
    assert prepare(model, batch) == (2, None)
    seen = counted(model, monkeypatch)
    assert_alike(learned(model, batch), wanted)
    assert seen == [True, True]


def bart():
    torch.manual_seed(0)
    return BartForConditionalGeneration(BartConfig(**SIZES)).eval()


def test_scores_with_a_bias_of_their_own_keep_their_keys():
    torch.manual_seed(0)
    sizes = {"d_model": 64, "num_heads": 2, "d_kv": 32, "d_ff": 64, "num_layers": 1}
    model = T5ForConditionalGeneration(T5Config(vocab_size=99, use_cache=False, **sizes)).eval()
    batch = heard(3, 7)
    batch["input_ids"] = torch.randint(5, 99, (2, 20))
    del batch["input_features"]
    wanted = Transcripts().row_losses(model, batch)[0]
    assert prepare(model, batch) == (0, "it needs its keys and values (NotImplementedError)")
    assert model.config._attn_implementation == "sdpa"
    assert torch.equal(Transcripts().row_losses(model, batch)[0], wanted)


def test_keys_that_are_changed_after_their_projection_are_kept():
    batch, model = heard(3, 7), whisper()
    for layer in model.model.decoder.layers:
        layer.encoder_attn.k_proj.register_forward_hook(by_place)
    wanted = Transcripts().row_losses(model, batch)[0]
    count, against = prepare(model, batch)
    assert count == 0
    assert "off" in against
    assert torch.equal(Transcripts().row_losses(model, batch)[0], wanted)
    left = {name for part in model.modules() for name in vars(part)}
    assert not left & {"crossing", "project", "forward"}


def by_place(layer, args, output):
    """Scale keys by their place."""
    del layer, args
    return output * torch.linspace(0.1, 3, output.shape[1])[None, :, None]


def test_a_layer_of_another_kind_is_left_alone():
    class Own(nn.Linear):
        pass

    batch, model = heard(3, 7), whisper()
    model.model.decoder.layers[0].encoder_attn.v_proj.__class__ = Own
    assert prepare(model, batch) == (1, "Own is not known here")


def test_a_model_without_an_encoder_says_so():
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=99, num_attention_heads=2, **sizes))
    batch = {"input_ids": torch.randint(0, 99, (2, 7)), "labels": torch.randint(0, 99, (2, 7))}
    assert prepare(model, batch) == (0, "nothing in it looks at an encoder")
    assert model.config._attn_implementation == "sdpa"


def one_crossing(heads, kept, width=8):
    """Return an attention whose keys and values have biases and fewer heads, and its states."""
    torch.manual_seed(0)
    key, value = (nn.Linear(24, kept * width) for _ in range(2))
    crossing = absorbed.Crossing(nn.Module(), key, value, torch.randn(3, 11, 24))
    return crossing, torch.randn(3, heads, 5, width, requires_grad=True)


def by_hand(crossing, query, mask, dropout, scale):
    """Return what keys and values give."""
    heads, width = query.shape[1], query.shape[-1]
    key, value = (
        layer(crossing.states).unflatten(-1, (-1, width)).transpose(1, 2)
        for layer in (crossing.key, crossing.value)
    )
    times = heads // key.shape[1]
    key, value = key.repeat_interleave(times, 1), value.repeat_interleave(times, 1)
    scores = query @ key.transpose(-1, -2) * scale
    if mask is not None:
        scores = (
            scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
        )
    shares = functional.dropout(torch.softmax(scores, -1), dropout)
    return (shares @ value).transpose(1, 2)


MASKS = {
    "none": None,
    "boolean": torch.arange(11)[None, None, None] < torch.tensor([11, 4, 7])[:, None, None, None],
    "added": torch.linspace(-3, 3, 11)[None, None, None].expand(3, 1, 5, 11),
}


@pytest.mark.parametrize("heads_kept", [4, 2, 1])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("scaling", [None, 0.7])
def test_biases_masks_dropout_and_shared_heads(heads_kept, mask, dropout, scaling):
    crossing, query = one_crossing(4, heads_kept)
    told = MASKS[mask], dropout
    torch.manual_seed(3)
    wanted = by_hand(crossing, query, *told, scale=8**-0.5 if scaling is None else scaling)
    torch.manual_seed(3)
    found = crossing.seen(query, *told, scaling)
    assert torch.allclose(found, wanted, rtol=1e-4, atol=1e-5)
    weights = [query, *crossing.key.parameters(), *crossing.value.parameters()]
    upstream = torch.randn_like(wanted)
    ours, theirs = (torch.autograd.grad(one, weights, upstream) for one in (found, wanted))
    for own, other in zip(ours, theirs, strict=True):
        assert torch.allclose(own, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_rows_of_their_own_length_have_biases_and_dropout_too(dropout):
    crossing, _ = one_crossing(4, 2)
    real = torch.arange(5)[None] < torch.tensor([4, 2, 5])[:, None]
    own = Segments(real, attention.causal_mask_function)
    query = torch.randn(1, 4, 11, 8)
    torch.manual_seed(3)
    found = crossing.seen(query, Crossed(own, None), dropout, None)
    torch.manual_seed(3)
    start, parts = 0, []
    for row, length in zip([1, 0, 2], [2, 4, 5], strict=True):
        one = absorbed.Crossing(nn.Module(), crossing.key, crossing.value)
        one.states = crossing.states[[row]]
        parts.append(by_hand(one, query[:, :, start : start + length], None, dropout, 8**-0.5))
        start += length
    assert torch.allclose(found, torch.cat(parts, 1), rtol=1e-4, atol=1e-5)


def test_a_run_is_the_same_with_it_and_without(tmp_path):
    told = ("train.max_steps=4", "train.dataloader_num_workers=0")
    found = {}
    for name in ("true", "false"):
        config = config_of(
            "automatic-speech-recognition",
            tmp_path / name,
            f"train.absorbed_attention={name}",
            *told,
        )
        run, facts = train(config)
        found[name] = [line["loss"] for line in log_of(run) if "loss" in line], facts
    (ours, on), (theirs, off) = found["true"], found["false"]
    assert ours == pytest.approx(theirs, rel=1e-5)
    assert on["absorbed_attention"] == 2
    assert on["absorbed_because"] is None
    assert off["absorbed_attention"] == 0
    assert off["absorbed_because"] == "train.absorbed_attention is false"


def never_trained(trainer, resume):
    del trainer, resume


@pytest.mark.parametrize(
    ("tag", "reason"),
    [
        ("text-classification", "nothing in it looks at an encoder"),
        ("text2text-generation", "its encoder sees no padding"),
    ],
)
def test_texts_are_not_asked_at_all(tag, reason, tmp_path, monkeypatch):
    def never(*args):
        raise AssertionError

    monkeypatch.setattr(absorbed_search, "prepare", never)
    monkeypatch.setattr(stage, "optimise", never_trained)
    _, facts = train(config_of(tag, tmp_path))
    assert (facts["absorbed_attention"], facts["absorbed_because"]) == (0, reason)
