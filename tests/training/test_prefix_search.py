"""Which layers are below all that is trained, for many architectures, and the reasons against."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import torch
import transformers as hf

from finetune.tasks.text2text_generation import Text2textGeneration
from finetune.tasks.text_classification import TextClassification
from finetune.tasks.text_generation import TextGeneration
from finetune.training import prefix_search
from finetune.training.prefixes import Prefix

WIDE = {
    "vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4,
    "intermediate_size": 64,
}  # fmt: skip
ENDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
CLEAN = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def bert(**more: Any) -> Any:
    return hf.BertForSequenceClassification(hf.BertConfig(**{**WIDE, **CLEAN, **more}))


def gpt2() -> Any:
    config = hf.GPT2Config(
        vocab_size=50, n_embd=32, n_layer=3, n_head=4, n_positions=32,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, **ENDS,
    )  # fmt: skip
    return hf.GPT2LMHeadModel(config)


def t5() -> Any:
    config = hf.T5Config(
        vocab_size=50, d_model=32, d_kv=8, d_ff=64, num_layers=3, num_heads=4,
        dropout_rate=0.0, pad_token_id=0, eos_token_id=1, decoder_start_token_id=0,
    )  # fmt: skip
    return hf.T5ForConditionalGeneration(config)


def llama() -> Any:
    return hf.LlamaForCausalLM(hf.LlamaConfig(**WIDE, **ENDS))


MODELS = {
    "bert": (TextClassification, bert, ["bert.embeddings", "bert.encoder.layer.0",
                                        "bert.encoder.layer.1"], "bert.encoder.layer[:2]"),
    "llama": (TextGeneration, llama, ["model.embed_tokens", "model.layers.0", "model.layers.1"],
              "model.layers[:2]"),
    "gpt2": (TextGeneration, gpt2, ["transformer.wte", "transformer.wpe", "transformer.h.0"],
             "transformer.h[:1]"),
    "t5": (Text2textGeneration, t5, ["shared", "encoder"], "encoder.block[:3]"),
}  # fmt: skip


def made(name: str) -> tuple[Any, Any, dict[str, torch.Tensor], str]:
    """Return task, model with its lower layers frozen, a batch, and what is to be found."""
    torch.manual_seed(0)
    kind, make, frozen, wanted = MODELS[name]
    model = make()
    for part in frozen:
        model.get_submodule(part).requires_grad_(False)
    return kind(), model, batch_for(name), wanted


def batch_for(name: str) -> dict[str, torch.Tensor]:
    lengths = [9, 5, 3]
    ids = torch.randint(3, 50, (3, 9))
    mask = torch.arange(9)[None] < torch.tensor(lengths)[:, None]
    ids = ids * mask
    batch = {"input_ids": ids, "attention_mask": mask.long()}
    if name == "bert":
        return {**batch, "labels": torch.tensor([0, 1, 0])}
    if name == "t5":
        labels = torch.randint(3, 50, (3, 4))
        start = torch.zeros((3, 1), dtype=torch.long)
        return {
            **batch, "labels": labels, "decoder_input_ids": torch.cat([start, labels[:, :-1]], 1),
        }  # fmt: skip
    return {**batch, "labels": ids.masked_fill(~mask, -100)}


def find(task: Any, model: Any, batch: Any) -> Prefix | str:
    return prefix_search.find(task, model, batch, contextlib.nullcontext)


@pytest.mark.parametrize("name", MODELS)
def test_the_frozen_layers_are_found(name: str) -> None:
    task, model, batch, wanted = made(name)
    found = find(task, model, batch)
    assert isinstance(found, Prefix), found
    assert found.name == wanted


@pytest.mark.parametrize("name", MODELS)
def test_nothing_is_found_where_everything_is_trained(name: str) -> None:
    task, model, batch, _ = made(name)
    model.requires_grad_(True)
    assert find(task, model, batch) == prefix_search.TRAINED


def test_layers_above_a_trained_embedding_are_not_frozen() -> None:
    task, model, batch, _ = made("llama")
    model.model.embed_tokens.requires_grad_(True)
    assert find(task, model, batch) == prefix_search.TRAINED


def test_layers_that_drop_units_are_not_kept() -> None:
    task, _, batch, _ = made("bert")
    dropping = bert(hidden_dropout_prob=0.1)
    for part in MODELS["bert"][2]:
        dropping.get_submodule(part).requires_grad_(False)
    assert find(task, dropping, batch) == prefix_search.RANDOM


def test_layers_that_others_need_more_of_than_their_states_are_not_kept() -> None:
    task, model, batch, _ = made("t5")  # position biases are the first layer's
    model.requires_grad_(True)
    model.shared.requires_grad_(False)
    model.encoder.block[0].requires_grad_(False)
    assert str(find(task, model, batch)).startswith(prefix_search.MORE)


def test_the_model_is_left_as_it_was() -> None:
    task, model, batch, _ = made("llama")
    model.train()
    assert isinstance(find(task, model, batch), Prefix)
    assert model.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert not any("forward" in vars(m) for m in model.modules())


def test_what_is_below_the_layers_is_part_of_what_is_kept() -> None:
    task, model, batch, _ = made("llama")
    found = find(task, model, batch)
    assert isinstance(found, Prefix)
    assert any(part is model.model.embed_tokens for part in prefix_search.below(found))
    assert not any(part is model.model.layers for part in prefix_search.below(found))


def test_a_model_that_cannot_do_without_its_layers_keeps_them(monkeypatch: Any) -> None:
    task, model, batch, _ = made("llama")

    def fails(*_: Any) -> Any:
        raise IndexError("tuple index out of range")

    monkeypatch.setattr(Prefix, "_recalled", fails)
    assert "IndexError: tuple index" in str(find(task, model, batch))
    assert not any("forward" in vars(m) for m in model.modules())
