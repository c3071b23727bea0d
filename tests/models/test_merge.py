"""Folding an adapter in changes nothing but the form, and a broken adapter is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from finetune.errors import ArtefactError, NumericsError
from finetune.models import load as loading
from finetune.models import merge
from tests.models import bases
from tests.models.bases import Base


def gap(one: torch.Tensor, other: torch.Tensor) -> float:
    """Return the largest difference relative to max(1, largest value)."""
    return float((one - other).abs().max()) / max(1.0, float(other.abs().max()))


def test_merged_equals_base_with_adapter(base: Base, tmp_path: Path) -> None:
    wanted = bases.answers(bases.trained(base, tmp_path / "adapter"), base.inputs())
    plain = bases.merged(base, tmp_path / "adapter")
    assert gap(bases.answers(plain, base.inputs()), wanted) <= 1e-5
    assert gap(bases.answers(base.load().model, base.inputs()), wanted) > 1e-3
    assert not [name for name, _ in plain.named_modules() if "lora" in name]


def test_the_dequantised_merge_equals_the_forward_of_training(base: Base, tmp_path: Path) -> None:
    wanted = bases.answers(bases.trained(base, tmp_path / "a", quantized=True), base.inputs())
    plain, packed = base.load().model, base.load(quantized=True).model
    layers = sum(type(m).__name__ == "Linear4bit" for m in packed.modules())
    assert merge.dequantise_into(plain, packed) == layers
    folded = merge.merged(merge.with_adapter(plain, tmp_path / "a"))
    assert gap(bases.answers(folded, base.inputs()), wanted) <= 1e-3


def test_8_bit_weights_are_dequantised_too(tiny: dict[str, Base]) -> None:
    base = tiny["gpt"]
    options = loading.LoadOptions(quantization=loading.Quantization(bits=8))
    packed = loading.load(base.folder, base.auto_class, options).model
    plain = base.load().model
    before = bases.answers(plain, base.inputs())
    assert merge.dequantise_into(plain, packed) > 0
    after = bases.answers(plain, base.inputs())
    assert 0 < gap(after, before) < 0.2


def edited(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    file = folder / merge.WEIGHTS
    weights = load_file(file)
    change(weights)
    save_file(weights, file, {"format": "pt"})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_adapter_that_is_not_finite_is_refused_before_the_base_is_touched(
    value: float, tiny: dict[str, Base], tmp_path: Path
) -> None:
    base = tiny["gpt"]
    bases.trained(base, tmp_path / "adapter")
    edited(tmp_path / "adapter", lambda w: next(iter(w.values())).view(-1)[3:4].fill_(value))
    model = base.load().model
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(NumericsError, match="nothing is exported") as caught:
        merge.with_adapter(model, tmp_path / "adapter")
    assert caught.value.exit_code == 5
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_merge_that_overflows_is_refused(tiny: dict[str, Base], tmp_path: Path) -> None:
    base = tiny["gpt"]
    bases.trained(base, tmp_path / "adapter")
    edited(tmp_path / "adapter", lambda w: [tensor.fill_(1e30) for tensor in w.values()])
    with pytest.raises(NumericsError) as caught:
        bases.merged(base, tmp_path / "adapter")
    assert caught.value.exit_code == 5


def lose(weights: dict[str, torch.Tensor]) -> None:
    weights.pop(sorted(weights)[0])


def add(weights: dict[str, torch.Tensor]) -> None:
    weights["base_model.model.model.layers.9.q_proj.lora_A.weight"] = torch.zeros(4, 128)


@pytest.mark.parametrize("change", [lose, add])
@pytest.mark.parametrize("family", ["bert", "gpt"])
def test_an_adapter_with_other_tensors_is_refused(
    family: str, change: Callable[..., None], tiny: dict[str, Base], tmp_path: Path
) -> None:
    bases.trained(tiny[family], tmp_path / "adapter")
    edited(tmp_path / "adapter", change)
    with pytest.raises(ArtefactError, match="missing or left over") as caught:
        merge.with_adapter(tiny[family].load().model, tmp_path / "adapter")
    assert caught.value.exit_code == 4


def test_an_adapter_of_another_shape_of_base_is_refused(
    tiny: dict[str, Base], tmp_path: Path
) -> None:
    other = bases.ARCHITECTURES["llama"].write(tmp_path / "other")
    bases.trained(other, tmp_path / "adapter", target_modules=["q_proj"], r=4)
    with pytest.raises(ArtefactError, match="does not fit this base") as caught:
        merge.with_adapter(tiny["gpt"].load().model, tmp_path / "adapter")
    assert caught.value.exit_code == 4


def test_an_adapter_of_another_architecture_is_refused(
    tiny: dict[str, Base], tmp_path: Path
) -> None:
    bases.trained(tiny["bert"], tmp_path / "adapter")
    with pytest.raises(ArtefactError):
        merge.with_adapter(tiny["gpt"].load().model, tmp_path / "adapter")


@pytest.mark.parametrize("content", [None, b"", b"\x08\x00\x00\x00\x00\x00\x00\x00{}"])
def test_a_lost_or_broken_file_is_refused(
    content: bytes | None, tiny: dict[str, Base], tmp_path: Path
) -> None:
    bases.trained(tiny["gpt"], tmp_path / "adapter")
    file = tmp_path / "adapter" / merge.WEIGHTS
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(ArtefactError, match="adapter_model"):
        merge.with_adapter(tiny["gpt"].load().model, tmp_path / "adapter")


def published(tiny: dict[str, Base], tmp_path: Path, base: str) -> dict[str, Any]:
    bases.trained(tiny["gpt"], tmp_path / "checkpoint")
    (tmp_path / "adapter").mkdir()
    merge.publish_adapter(tmp_path / "checkpoint", tmp_path / "adapter", base=base, revision="r1")
    text = (tmp_path / "adapter" / "adapter_config.json").read_text(encoding="utf-8")
    assert str(tmp_path) not in text
    assert str(bases.TINY) not in text
    found: dict[str, Any] = json.loads(text)
    return found


def test_a_published_adapter_names_its_base(tiny: dict[str, Base], tmp_path: Path) -> None:
    config = published(tiny, tmp_path, "org/base")
    assert config["base_model_name_or_path"] == "org/base"
    assert config["revision"] == "r1"
    assert config["inference_mode"] is True
    assert config["target_modules"] == sorted(config["target_modules"])
    assert sorted(p.name for p in (tmp_path / "adapter").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]


def test_a_base_in_a_folder_is_published_without_its_path(
    tiny: dict[str, Base], tmp_path: Path
) -> None:
    config = published(tiny, tmp_path, str(bases.TINY / "gpt"))
    assert config["base_model_name_or_path"] == "gpt"


def test_an_adapter_is_checked_before_peft_reads_its_options(
    tiny: dict[str, Base], tmp_path: Path
) -> None:
    bases.trained(tiny["gpt"], tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_config.json"
    config = json.loads(file.read_text(encoding="utf-8")) | {"megatron_config": {"a": 1}}
    file.write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ArtefactError, match="megatron_config"):
        merge.with_adapter(tiny["gpt"].load().model, tmp_path / "adapter")


@pytest.mark.parametrize("change", [{"peft_type": "EVIL"}, {"r": "four"}, {"peft_type": None}])
def test_an_adapter_with_odd_options_is_refused_in_a_sentence(
    change: dict[str, Any], tiny: dict[str, Base], tmp_path: Path
) -> None:
    bases.trained(tiny["gpt"], tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_config.json"
    config = json.loads(file.read_text(encoding="utf-8")) | change
    file.write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ArtefactError, match="does not fit this base"):
        merge.with_adapter(tiny["gpt"].load().model, tmp_path / "adapter")
