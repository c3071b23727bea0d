"""What is new, what is missing, what stays in full precision."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from finetune.errors import ArtefactError, ConfigError
from finetune.models import load as loading
from tests.models import bases
from tests.models.bases import ARCHITECTURES, Base

Weights = dict[str, torch.Tensor]


def changed(base: Base, folder: Path, change: Callable[[Weights], Any]) -> Base:
    """Copy a base with other weights."""
    shutil.copytree(base.folder, folder)
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return Base(folder, base.auto_class, base.inputs, base.head)


def kinds(model: torch.nn.Module) -> dict[str, str]:
    """Return the class of every linear layer by name."""
    found = {}
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear):
            found[name] = type(module).__name__
    return found


def test_a_new_head_is_named_and_the_pretrained_rest_is_not(tiny: dict[str, Base]) -> None:
    found = tiny["bert"].load()
    assert "classifier" in found.new_modules
    assert set(found.new_modules) <= {"classifier", "bert.pooler"}
    assert found.model.classifier.out_features == 3


def test_nothing_is_new_in_a_model_that_was_saved_with_its_head(
    tiny: dict[str, Base], tmp_path: Path
) -> None:
    found = tiny["bert"].load()
    found.model.save_pretrained(str(tmp_path / "saved"))
    again = Base(tmp_path / "saved", tiny["bert"].auto_class, bases.tokens, head=True).load()
    assert again.new_modules == []
    inputs = bases.tokens()
    assert torch.equal(bases.answers(again.model, inputs), bases.answers(found.model, inputs))


def test_a_head_for_other_labels_is_new(tiny: dict[str, Base], tmp_path: Path) -> None:
    tiny["bert"].load().model.save_pretrained(str(tmp_path / "saved"))
    found = loading.load(
        tmp_path / "saved", tiny["bert"].auto_class, loading.LoadOptions(),
        config_changes={"num_labels": 7}, head_may_be_new=True,
    )  # fmt: skip
    assert found.new_modules == ["classifier"]
    assert found.model.classifier.out_features == 7


@pytest.mark.parametrize("family", ["t5", "gpt", "clip", "whisper"])
def test_nothing_is_new_where_the_task_has_no_head_of_its_own(
    family: str, tiny: dict[str, Base]
) -> None:
    assert tiny[family].load().new_modules == []


def layer_weight(weights: Weights) -> str:
    """Return the name of a weight matrix that no head has."""
    return next(k for k, v in sorted(weights.items()) if v.dim() == 2 and "layer" in k)


def drop(weights: Weights) -> None:
    weights.pop(layer_weight(weights))


def rename(weights: Weights) -> None:
    name = layer_weight(weights)
    weights[name.replace("layer", "leyer")] = weights.pop(name)


def reshape(weights: Weights) -> None:
    name = layer_weight(weights)
    weights[name] = weights[name][:-1].contiguous()


@pytest.mark.parametrize("change", [drop, rename, reshape])
def test_weights_that_do_not_fit_are_refused_by_name(
    change: Callable[[Weights], None], base: Base, tmp_path: Path
) -> None:
    with pytest.raises(ArtefactError) as caught:
        changed(base, tmp_path / "odd", change).load()
    assert caught.value.exit_code == 4
    assert "odd" in str(caught.value)


@pytest.mark.parametrize("family", ["t5", "clip"])
def test_an_architecture_without_the_head_is_another_task_s(
    family: str, tiny: dict[str, Base]
) -> None:
    with pytest.raises(ConfigError, match="made for other tasks"):
        loading.load(tiny[family].folder, transformers.AutoModelForCausalLM, loading.LoadOptions())


def test_an_unknown_architecture_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "nobody_s"}))
    with pytest.raises(ArtefactError, match="no configuration that transformers knows"):
        loading.read_config(tmp_path)


def test_the_seed_alone_decides_a_new_head(tiny: dict[str, Base]) -> None:
    torch.manual_seed(99)
    one = tiny["bert"].load(seed=5).model.classifier.weight
    torch.manual_seed(7)
    again = tiny["bert"].load(seed=5).model.classifier.weight
    other = tiny["bert"].load(seed=6).model.classifier.weight
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_quantising_leaves_the_same_new_head(tiny: dict[str, Base]) -> None:
    plain = tiny["bert"].load(seed=5).model.classifier.weight
    assert torch.equal(plain, tiny["bert"].load(seed=5, quantized=True).model.classifier.weight)


def test_half_precision_checkpoints_are_held_in_full(tiny: dict[str, Base], tmp_path: Path) -> None:
    tiny["gpt"].load().model.half().save_pretrained(str(tmp_path / "half"))
    assert {t.dtype for t in load_file(tmp_path / "half" / "model.safetensors").values()} == {
        torch.float16
    }
    found = Base(tmp_path / "half", tiny["gpt"].auto_class, bases.tokens).load()
    assert {p.dtype for p in found.model.parameters()} == {torch.float32}


def test_dropout_reaches_nested_configurations_and_layers(base: Base) -> None:
    found = base.load(dropout=0.37).model
    assert loading.dropout_of(found.config) == 0.37
    rates = {m.p for m in found.modules() if isinstance(m, torch.nn.Dropout)}
    assert rates <= {0.37}
    for part in ("text_config", "vision_config"):
        if hasattr(found.config, part):
            assert getattr(found.config, part).attention_dropout == 0.37
    assert loading.dropout_of(base.load(dropout=0.0).model.config) == 0.0


def test_all_linear_layers_but_head_and_output_are_4_bit(base: Base) -> None:
    found = base.load(quantized=True)
    model = found.model
    output = model.get_output_embeddings()
    for name, kind in kinds(model).items():
        part = model.get_submodule(name)
        kept = part is output or "classifier" in name or "pooler" in name
        kept |= bool({*name.split(".")} & {*(model._keep_in_fp32_modules or ())})  # upstream's own
        assert kind == ("Linear" if kept else "Linear4bit"), name
    assert "Linear4bit" in kinds(model).values()
    inputs = model.get_input_embeddings() if base.auto_class.__name__ != "AutoModel" else None
    if inputs is not None:
        assert inputs.weight.dtype == torch.float32


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_no_head_or_output_of_any_architecture_is_4_bit(name: str, tmp_path: Path) -> None:
    found = ARCHITECTURES[name].write(tmp_path / "base").load(quantized=True)
    output = found.model.get_output_embeddings()
    if output is not None:
        assert type(output) is torch.nn.Linear
        assert output.weight.dtype == torch.float32
    for module in found.new_modules:
        assert "Linear4bit" not in kinds(found.model.get_submodule(module)).values()
    assert "Linear4bit" in kinds(found.model).values()


def test_8_bit_is_8_bit(tiny: dict[str, Base]) -> None:
    options = loading.LoadOptions(quantization=loading.Quantization(bits=8))
    found = loading.load(tiny["gpt"].folder, tiny["gpt"].auto_class, options)
    assert "Linear8bitLt" in kinds(found.model).values()
    assert type(found.model.get_output_embeddings()) is torch.nn.Linear


def test_4_bit_weights_are_counted_as_what_they_stand_for(base: Base) -> None:
    plain, packed = base.load().model, base.load(quantized=True).model
    assert loading.parameter_count(packed) == loading.parameter_count(plain)
    plain.requires_grad_(False)
    assert loading.parameter_count(plain, trainable=True) == 0


@pytest.mark.parametrize(("rate", "layers"), [(0.3, 0.1), (0.0, 0.0)])
def test_dropping_whole_layers_is_only_ever_switched_off(rate, layers):
    from transformers import Wav2Vec2Config

    config = Wav2Vec2Config(layerdrop=0.1, hidden_dropout=0.1)
    loading.set_dropout(config, rate)
    assert (config.hidden_dropout, config.layerdrop) == (rate, layers)
