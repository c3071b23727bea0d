"""Every architecture behind a named model loads, learns, merges and quantises like the others."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from finetune.models import merge
from tests.models import bases


@pytest.fixture(params=list(bases.ARCHITECTURES))
def made(request: pytest.FixtureRequest, tmp_path: Path) -> bases.Base:
    return bases.ARCHITECTURES[request.param].write(tmp_path / "base")


def test_what_is_trained_is_what_is_merged(made: bases.Base, tmp_path: Path) -> None:
    found = made.load()
    model = bases.adapted(found).train()
    bases.answers_loss(model, made.inputs()).backward()
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    silent = {n for n, p in model.named_parameters() if p.requires_grad and p.grad is None}
    assert not silent
    assert all("lora_" in name or "modules_to_save" in name for name in trainable)
    kept = {name.split(".modules_to_save")[0].removeprefix("base_model.model.")
            for name in trainable if "modules_to_save" in name}  # fmt: skip
    assert kept == set(found.new_modules)
    bases.disturb(model)
    bases.save(model.eval(), tmp_path / "adapter")
    wanted = bases.answers(model, made.inputs())
    plain = bases.merged(made, tmp_path / "adapter")
    got = bases.answers(plain, made.inputs())
    assert (got - wanted).abs().max() <= 1e-5 * max(1.0, wanted.abs().max().item())
    assert (wanted - bases.answers(made.load().model, made.inputs())).abs().max() > 1e-3


def test_a_4_bit_base_merges_into_what_it_stood_for(made: bases.Base, tmp_path: Path) -> None:
    model = bases.trained(made, tmp_path / "adapter", quantized=True)
    wanted = bases.answers(model, made.inputs())
    plain = made.load().model
    assert merge.dequantise_into(plain, made.load(quantized=True).model) > 0
    folded = merge.merged(merge.with_adapter(plain, tmp_path / "adapter"))
    got = bases.answers(folded, made.inputs())
    scale = max(1.0, wanted.abs().max().item())
    assert torch.isfinite(wanted).all()
    assert (got - wanted).abs().max() <= 1e-3 * scale
