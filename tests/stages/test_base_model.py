"""The base model: found, checked, recorded."""

from __future__ import annotations

from types import SimpleNamespace

from finetune.stages import base_model
from tests.stages.finished import BERT, finished


def test_which_base_it_was_is_recorded():
    base = finished(BERT).manifest()["base_model"]
    assert base["name_or_path"] == "package:finetune/models/tiny/bert"
    assert base["license"] == "apache-2.0"
    assert len(base["sha256"]["model.safetensors"]) == 64
    assert base["parameters"] > 100_000


def test_quantisation_is_only_for_training():
    config = SimpleNamespace(
        strategy=SimpleNamespace(
            quantization=SimpleNamespace(bits=4, quant_type="nf4", double_quant=True)
        ),
        model=SimpleNamespace(attn_implementation="auto", dropout=None),
        seed=3,
    )
    assert base_model.options(config, device="cpu").quantization is None
    assert base_model.options(config, device="cpu", quantized=True).quantization.bits == 4
    config.strategy = SimpleNamespace()
    assert base_model.options(config, device="cpu", quantized=True).quantization is None
