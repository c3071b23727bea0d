"""An exported folder is believed when a fresh process gets the same numbers from it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from finetune.errors import GateError
from finetune.models import parity
from tests.models.bases import Base

VOCABULARY = 1000
SLOW = pytest.mark.slow  # each case is a process that imports transformers


def exported(base: Base, folder: Path) -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    """Save a model and return it with inputs to compare on."""
    model = base.load().model
    model.save_pretrained(str(folder))
    batch = base.inputs()
    if "decoder_input_ids" in batch:
        batch["labels"] = batch["decoder_input_ids"]
    return model, parity.inputs_of([batch, batch], VOCABULARY)


@pytest.mark.parametrize(
    "family",
    ["clip", *(pytest.param(name, marks=SLOW) for name in ("bert", "t5", "gpt", "whisper"))],
)
def test_an_untouched_folder_agrees_in_a_fresh_process(
    family: str, tiny: dict[str, Base], tmp_path: Path
) -> None:
    base = tiny[family]
    model, inputs = exported(base, tmp_path / "merged")
    there = parity.outputs_of_folder(tmp_path / "merged", base.auto_class.__name__, inputs)
    result = parity.compare(parity.outputs(model, inputs), there)
    assert result.within(1e-5)
    assert result.same_prediction == 1.0
    assert result.rows > 0


def test_a_flipped_weight_is_seen(tiny: dict[str, Base], tmp_path: Path) -> None:
    base = tiny["bert"]
    model, inputs = exported(base, tmp_path / "merged")
    file = tmp_path / "merged" / "model.safetensors"
    weights = load_file(file)
    weights["bert.encoder.layer.0.attention.self.query.weight"][0] *= -1
    save_file(weights, file, {"format": "pt"})
    there = parity.outputs_of_folder(file.parent, base.auto_class.__name__, inputs)
    result = parity.compare(parity.outputs(model, inputs), there)
    assert not result.within(parity.TOLERANCES["float32"])


@pytest.mark.parametrize(
    "damage",
    [
        "no weights",
        pytest.param("no configuration", marks=SLOW),
        pytest.param("other class", marks=SLOW),
    ],
)
def test_a_folder_that_does_not_load_is_a_gate_that_failed(
    damage: str, tiny: dict[str, Base], tmp_path: Path
) -> None:
    base = tiny["gpt"]
    _, inputs = exported(base, tmp_path / "merged")
    name = base.auto_class.__name__
    if damage == "no weights":
        (tmp_path / "merged" / "model.safetensors").unlink()
    elif damage == "no configuration":
        (tmp_path / "merged" / "config.json").write_text("{")
    else:
        name = "AutoModelForSeq2SeqLM"
    with pytest.raises(GateError, match="does not load in a fresh process") as caught:
        parity.outputs_of_folder(tmp_path / "merged", name, inputs)
    assert caught.value.exit_code == 10
    assert str(tmp_path) not in caught.value.fix


def test_labelled_places_alone_are_compared_within_a_budget(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    labels = torch.full((3, 5), -100)
    labels[:, 2:] = 7
    batch = {"input_ids": torch.ones(3, 5, dtype=torch.long), "labels": labels}
    whole = parity.inputs_of([batch], 10)
    assert whole["0/pick"].sum() == 9
    assert "0/labels" not in whole
    monkeypatch.setattr(parity, "BUDGET", 50)
    some = parity.inputs_of([batch, batch], 10)
    assert some["0/pick"].sum() == 5
    assert some["1/pick"].sum() == 1, "every batch keeps a place"
    assert torch.equal(batch["labels"], labels), "the batch itself is left alone"


def test_labels_of_classes_and_groups_are_no_inputs() -> None:
    batch = {"pixel_values": torch.ones(2, 3), "labels": torch.ones(2), "group": torch.ones(2)}
    assert list(parity.inputs_of([batch], 10)) == ["0/pixel_values"]


def test_nan_is_a_difference() -> None:
    one = {"0/logits": torch.tensor([[1.0, 2.0]])}
    other = {"0/logits": torch.tensor([[1.0, float("nan")]])}
    assert not parity.compare(one, other).within(1e9)
    assert not parity.compare(other, one).within(1e9)


def test_the_difference_is_relative_to_the_largest_output() -> None:
    one = {"0/logits": torch.tensor([[100.0, -200.0]])}
    other = {"0/logits": torch.tensor([[100.0, -200.1]])}
    result = parity.compare(one, other)
    assert result.scale == 200.0
    assert result.within(1e-3)
    assert not result.within(1e-4)


def test_changed_predictions_are_counted() -> None:
    one = {"0/logits": torch.tensor([[1.0, 2.0], [1.0, 2.0]])}
    other = {"0/logits": torch.tensor([[1.0, 2.0], [2.0, 1.0]])}
    assert parity.compare(one, other).same_prediction == 0.5


@pytest.mark.parametrize("other", [{}, {"0/text_embeds": torch.ones(1, 2)}])
def test_other_outputs_are_refused(other: dict[str, torch.Tensor]) -> None:
    with pytest.raises(GateError, match="other outputs"):
        parity.compare({"0/logits": torch.ones(1, 2)}, other)


def test_outputs_of_another_shape_are_refused() -> None:
    with pytest.raises(GateError, match="shape"):
        parity.compare({"0/logits": torch.ones(2, 3)}, {"0/logits": torch.ones(2, 4)})


def test_the_facts_say_what_was_compared() -> None:
    result = parity.Parity(rows=3, max_abs_difference=0.1, scale=2.0, same_prediction=0.9)
    found = parity.facts(result, rows=2, tolerance=0.5, compared="a with b", merge_base=None)
    assert found["compared"] == "a with b"
    assert found["max_abs_difference"] == 0.1
    assert found["rows"] == 2
