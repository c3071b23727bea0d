"""Operations are counted as torch counts them, and only for tokens that are there."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, BertForSequenceClassification, LlamaConfig, LlamaForCausalLM

from finetune.training import work

SMALL = {
    "vocab_size": 97, "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4,
    "intermediate_size": 128,
}  # fmt: skip


def bert():
    return BertForSequenceClassification(
        BertConfig(**SMALL, architectures=["BertForSequenceClassification"])
    )


def llama():
    made = LlamaConfig(
        **SMALL, num_key_value_heads=4, architectures=["LlamaForCausalLM"],
        tie_word_embeddings=False, attn_implementation="eager",  # else torch counts none of it
    )  # fmt: skip
    return LlamaForCausalLM(made)


def counted(model, **inputs):
    with FlopCounterMode(display=False) as counter:
        model(**inputs).loss.backward()
    return counter.get_total_flops()


def test_full_fine_tuning_of_an_encoder():
    ids = torch.ones(4, 40, dtype=torch.long)
    batch = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "labels": torch.ones(4).long(),
    }
    model = bert()
    tokens, flops = work.Need(model).of(batch)
    assert tokens == 160
    assert flops == pytest.approx(counted(model, **batch), rel=0.06)  # its pooler sees one token


@pytest.mark.parametrize("frozen", [False, True])
def test_a_decoder_with_and_without_trained_layers(frozen):
    from peft import LoraConfig, get_peft_model

    model = llama()
    if frozen:
        model = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear"))
    ids = torch.ones(2, 64, dtype=torch.long)
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}
    need = work.Need(model)
    need.causal = False  # torch counts the half that is masked too
    assert need.of(batch)[1] == pytest.approx(counted(model, **batch), rel=0.06)


def test_padding_and_what_carries_no_loss_need_nothing():
    ids = torch.ones(1, 10, dtype=torch.long)
    whole = {"attention_mask": ids, "labels": ids}
    padded = {
        "attention_mask": torch.nn.functional.pad(ids, (0, 30)),
        "labels": torch.nn.functional.pad(ids, (0, 30), value=-100),
    }
    need = work.Need(llama())
    assert need.of(padded) == need.of(whole)


def test_what_is_not_known_is_nothing():
    need = work.Need(torch.nn.Linear(2, 2))
    assert need.of({"attention_mask": torch.ones(1, 3)}) == (0, 0.0)
    assert work.Need(bert()).of({"pixel_values": torch.ones(1, 3)}) == (0, 0.0)


def test_packed_weights_count_as_what_they_stand_for():
    weight = torch.nn.Parameter(torch.ones(32, 1), requires_grad=False)
    weight.quant_state = type("State", (), {"shape": (8, 8)})()
    assert work.cost(weight) == 64 * 4


def test_the_rate_is_that_of_a_product(monkeypatch):
    monkeypatch.setattr(work, "SIZE", 64)
    assert 1e6 < work.rate("cpu", "fp32") < 1e15
