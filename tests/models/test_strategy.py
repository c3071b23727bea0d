"""What is trained, and that what was misspelt is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from finetune.errors import ConfigError
from finetune.models import strategy
from tests.models import bases
from tests.models.bases import ARCHITECTURES, Base


def trainable(model: Any) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def adapted_layers(model: Any) -> set[str]:
    """Return the names of the layers that carry a LoRA."""
    return {
        name.split(".lora_A")[0].removeprefix("base_model.model.")
        for name in trainable(model)
        if "lora_A" in name
    }


@pytest.mark.parametrize("quantized", [False, True])
def test_all_linear_is_every_linear_layer_but_the_head_and_the_output(
    quantized: bool, base: Base
) -> None:
    found = base.load(quantized=quantized)
    output = found.model.get_output_embeddings()
    wanted = {
        name
        for name, module in found.model.named_modules()
        if isinstance(module, torch.nn.Linear)
        and module is not output
        and not name.startswith(tuple(found.new_modules) or "-")
    }
    assert len(wanted) >= 8
    assert adapted_layers(bases.adapted(found)) == wanted


def test_all_linear_in_some_layers_adapts_those_alone(base: Base) -> None:
    layers = adapted_layers(
        bases.adapted(base.load(), **{**bases.LORA, "layers_to_transform": [1]})
    )
    assert layers
    assert {next(part for part in name.split(".") if part.isdigit()) for name in layers} == {"1"}


def test_a_layer_that_is_not_there_is_refused_with_those_there_are(tiny: dict[str, Base]) -> None:
    with pytest.raises(ConfigError, match="names layer 7") as caught:
        bases.adapted(tiny["bert"].load(), **{**bases.LORA, "layers_to_transform": [1, 7]})
    assert "has 0 to 1" in caught.value.fix


def test_all_linear_knows_the_layers_of_gpt2(tmp_path: Path) -> None:
    found = ARCHITECTURES["gpt2"].write(tmp_path / "base").load()
    layers = adapted_layers(bases.adapted(found))
    assert "transformer.h.0.attn.c_attn" in layers
    assert len(layers) == 8
    assert "lm_head" not in layers


def test_layers_that_torch_s_own_attention_bypasses_get_no_adapter(tmp_path: Path) -> None:
    found = ARCHITECTURES["siglip"].write(tmp_path / "base").load()
    names = strategy.all_linear(found.model, [])
    assert "vision_model.head.mlp.fc1" in names
    assert not [name for name in names if name.endswith("attention.out_proj")]


def test_full_fine_tuning_trains_every_weight(base: Base) -> None:
    found = base.load()
    model = strategy.apply(found.model, peft_type=None, options={}, new_modules=[])
    assert model is found.model
    assert trainable(model) == {name for name, _ in model.named_parameters()}


def test_new_modules_are_trained_and_saved_with_the_adapter(tiny: dict[str, Base]) -> None:
    found = tiny["bert"].load()
    model = bases.adapted(found)
    assert set(model.peft_config["default"].modules_to_save) == set(found.new_modules)
    names = trainable(model)
    assert "base_model.model.classifier.modules_to_save.default.weight" in names


def test_what_is_trained_is_held_in_full_precision(tiny: dict[str, Base]) -> None:
    found = tiny["gpt"].load(dtype="bfloat16")
    model = bases.adapted(found)
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}
    assert {p.dtype for p in model.parameters() if not p.requires_grad} == {torch.bfloat16}


def test_an_unknown_target_names_the_layers_there_are(tiny: dict[str, Base]) -> None:
    with pytest.raises(ConfigError) as caught:
        bases.adapted(tiny["gpt"].load(), target_modules=["q_prj", "v_proj"])
    assert "`q_prj`, which no module is called, did you mean `q_proj`" in str(caught.value)
    assert "up_proj" in caught.value.fix
    assert len(caught.value.problems) == 1


def test_an_unknown_field_names_the_nearest(tiny: dict[str, Base]) -> None:
    with pytest.raises(ConfigError) as caught:
        bases.adapted(tiny["gpt"].load(), rank=4, lora_alfa=8)
    assert "`strategy.options.lora_alfa` is no field of LoraConfig, did you mean `lora_alpha`" in (
        str(caught.value)
    )
    assert len(caught.value.problems) == 2


def test_an_unknown_type_names_the_nearest(tiny: dict[str, Base]) -> None:
    with pytest.raises(ConfigError, match="did you mean `LORA`"):
        bases.adapted(tiny["gpt"].load(), "LORRA", r=4)


def test_a_target_that_cannot_be_adapted_says_what_can(tiny: dict[str, Base]) -> None:
    with pytest.raises(ConfigError, match="does not fit this model"):
        bases.adapted(tiny["gpt"].load(), target_modules=["input_layernorm"])


@pytest.mark.parametrize(
    ("peft_type", "options"),
    [
        ("IA3", {"target_modules": ["k_proj", "v_proj", "down_proj"],
                 "feedforward_modules": ["down_proj"]}),
        ("LOHA", {"r": 2, "target_modules": "all-linear"}),
        ("LOKR", {"r": 2, "target_modules": "all-linear"}),
        ("OFT", {"oft_block_size": 8, "target_modules": ["q_proj", "v_proj"]}),
        ("LORA", {"r": 2, "use_dora": True, "target_modules": ["q_proj"]}),
    ],
)  # fmt: skip
def test_other_types_of_peft_train_and_fold_in(
    peft_type: str, options: dict[str, Any], tiny: dict[str, Base], tmp_path: Path
) -> None:
    base = tiny["gpt"]
    model = bases.trained(base, tmp_path / "adapter", peft_type=peft_type, **options)
    wanted = bases.answers(model, base.inputs())
    got = bases.answers(bases.merged(base, tmp_path / "adapter"), base.inputs())
    assert (got - wanted).abs().max() <= 1e-5 * max(1.0, wanted.abs().max().item())
    assert not torch.allclose(wanted, bases.answers(base.load().model, base.inputs()), atol=1e-3)


def test_a_frozen_module_keeps_its_weights_and_the_others_are_trained(tmp_path: Path) -> None:
    model = ARCHITECTURES["siglip"].write(tmp_path / "base").load().model
    strategy.apply(model, peft_type=None, options={}, new_modules=[], freeze=["vision_model"])
    left = trainable(model)
    assert left
    assert left == {n for n, _ in model.named_parameters() if not n.startswith("vision_model.")}


def test_a_misspelt_frozen_module_is_named(tmp_path: Path) -> None:
    model = ARCHITECTURES["siglip"].write(tmp_path / "base").load().model
    with pytest.raises(ConfigError, match=r"`strategy\.freeze` names `vision_modle`.*vision_model"):
        strategy.apply(model, peft_type=None, options={}, new_modules=[], freeze=["vision_modle"])


def test_freezing_everything_is_refused(tmp_path: Path) -> None:
    model = ARCHITECTURES["siglip"].write(tmp_path / "base").load().model
    everything = [name for name, _ in model.named_children()]
    own = [name for name, _ in model.named_parameters(recurse=False)]
    for name in own:  # a temperature belongs to no module
        getattr(model, name).requires_grad_(False)
    strategy.apply(model, peft_type=None, options={}, new_modules=[], freeze=everything[:1])
    model.register_parameter("logit_scale", None)
    model.register_parameter("logit_bias", None)
    with pytest.raises(ConfigError, match="leaves no weight to train"):
        strategy.apply(model, peft_type=None, options={}, new_modules=[], freeze=everything)
