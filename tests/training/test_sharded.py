"""Models of which each rank holds a part."""

from __future__ import annotations

import bitsandbytes
import pytest
import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from transformers import (
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPModel,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from finetune.errors import ConfigError
from finetune.training import sharded
from tests.training.two_ranks import results

TINY = {"vocab_size": 11, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
SIDE = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
CLIP = CLIPConfig(text_config=SIDE, vision_config={**SIDE, "image_size": 8, "patch_size": 4})


def test_blocks_are_those_that_transformers_keeps_whole_but_none_around_an_embedding():
    bert = BertModel(BertConfig(**TINY, intermediate_size=8))
    assert sharded.blocks(bert) == ["BertLayer"]
    assert "BertEmbeddings" in bert._no_split_modules
    llama = LlamaForCausalLM(LlamaConfig(**TINY, intermediate_size=8))
    assert sharded.blocks(llama) == ["LlamaDecoderLayer"]
    assert sharded.blocks(nn.Linear(2, 2)) == []


def test_an_embedding_that_three_modules_share_is_not_sharded_apart():
    config = T5Config(vocab_size=11, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    model = T5ForConditionalGeneration(config)
    with sharded.shared_embeddings_left_together(model):
        assert model.get_input_embeddings() is None
    assert model.get_input_embeddings() is model.shared
    written = sharded.trained_weights(model, keep=True)
    assert "shared.weight" in written
    assert not {"encoder.embed_tokens.weight", "lm_head.weight"} & set(written)


def test_embeddings_that_are_only_tied_to_the_output_are_left_to_accelerate():
    llama = LlamaForCausalLM(LlamaConfig(**TINY, intermediate_size=8, tie_word_embeddings=True))
    with sharded.shared_embeddings_left_together(llama):
        assert llama.get_input_embeddings() is not None


def test_a_model_that_tells_no_embeddings_has_none():
    assert sharded.ends(nn.Linear(2, 2)) == []
    assert sharded.ends(CLIPModel(CLIP)) == []


def test_what_no_shard_can_be_made_of_is_refused_before_any_rank_waits():
    refuse = sharded.refuse_what_no_shard_can_be_made_of
    with pytest.raises(ConfigError, match=r"logit_scale.*single number.*ddp\.yaml"):
        refuse(CLIPModel(CLIP), "sgd")
    with pytest.raises(ConfigError, match=r"8-bit layers.*bits=4"):
        refuse(nn.Sequential(bitsandbytes.nn.Linear8bitLt(2, 2)), "sgd")
    for name in ("adafactor", "adamw_8bit", "paged_adamw_8bit"):
        with pytest.raises(ConfigError, match=f"{name}.*Choose one of adamw_torch"):
            refuse(nn.Linear(2, 2), name)
    for name in sharded.OPTIMIZERS:
        refuse(nn.Linear(2, 2), name)


def work(rank, folder):
    """Train a step in shards, take the state out, put it back, and train another."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 1))
    model[0].bias.requires_grad_(False)
    model.register_buffer("seen", torch.tensor(4))
    fully_shard(model, mesh=init_device_mesh("cpu", (2,)))
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.1)

    def step(number):
        model(torch.full((2, 3), 1.0 + number)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    step(0)
    keep = rank == 0
    weights = sharded.trained_weights(model, keep=keep)
    state = sharded.whole(optimizer.state_dict(), keep=keep)
    everywhere = sharded.whole(optimizer.state_dict(), keep=True)
    step(1)
    after = sharded.trained_weights(model, keep=True)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name in weights:
                full = [weights[name]]
                torch.distributed.broadcast_object_list(full, src=0)
                weight.copy_(
                    torch.distributed.tensor.distribute_tensor(
                        full[0], weight.device_mesh, list(weight.placements)
                    )
                )
    optimizer.load_state_dict(sharded.in_shards(everywhere, optimizer))
    cut = optimizer.state[trained[0]]["exp_avg"]
    step(1)
    return {
        "weights": weights,
        "state": state,
        "is_cut": isinstance(cut, DTensor) and cut.to_local().shape != cut.shape,
        "after": after,
        "again": sharded.trained_weights(model, keep=True),
    }


def test_whole_tensors_come_out_on_the_rank_that_writes_and_go_back_exactly(tmp_path):
    first, second = results(tmp_path, work)
    assert set(first["weights"]) == {"0.weight", "1.weight", "1.bias", "seen"}
    assert first["weights"]["0.weight"].shape == (5, 3)
    assert set(second["weights"].values()) == {None}
    assert first["state"]["state"][0]["exp_avg"].shape == (5, 3)
    assert second["state"]["state"][0]["exp_avg"] is None
    for found in (first, second):
        assert found["is_cut"]
        assert all(torch.equal(found["after"][k], found["again"][k]) for k in found["after"])
        assert not torch.equal(found["after"]["0.weight"], first["weights"]["0.weight"])
