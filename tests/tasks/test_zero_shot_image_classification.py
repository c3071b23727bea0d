"""Pictures and captions: shared captions, both kinds of loss, both kinds of tokenizer."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from finetune.models.load import LoadOptions
from finetune.tasks.zero_shot_image_classification import ZeroShotImageClassification, number_of
from tests.models.bases import ARCHITECTURES, TINY, noise


@pytest.fixture
def task() -> ZeroShotImageClassification:
    found = ZeroShotImageClassification()
    found.load_processor(TINY / "clip")
    return found


def scale(value: float = 0.0, bias: float | None = None) -> Any:
    numbers = {"logit_scale": torch.tensor(value)}
    if bias is not None:
        numbers["logit_bias"] = torch.tensor(bias)
    return SimpleNamespace(**numbers)


def test_rows_of_one_caption_share_the_target(task: ZeroShotImageClassification) -> None:
    same = torch.eye(2)[[0, 0]]
    group = torch.tensor([7, 7])
    total, rows = task.coupled_loss(scale(), (same, same), group)
    assert float(total) == pytest.approx(2 * math.log(2)), "as even as the captions are"
    other, _ = task.coupled_loss(scale(), (same, same), torch.tensor([7, 8]))
    assert int(rows) == 2
    assert float(other) == pytest.approx(2 * math.log(2))
    apart = torch.eye(2)
    one, _ = task.coupled_loss(scale(3.0), (apart, apart), torch.tensor([7, 8]))
    shared, _ = task.coupled_loss(scale(3.0), (apart, apart), group)
    assert float(one) < 1e-6 < float(shared)


def test_equal_captions_are_one_group_on_every_machine(task: ZeroShotImageClassification) -> None:
    rows = [{"text": text} for text in ("a red circle", "a blue circle", "a red circle")]
    group = task.collate(task.encode(rows))["group"].tolist()
    assert group[0] == group[2] != group[1]
    assert group[0] == number_of("a red circle") == 5832813804483663533


def test_a_model_with_a_bias_contrasts_by_pairs(task: ZeroShotImageClassification) -> None:
    vectors = torch.eye(2)
    total, _ = task.coupled_loss(scale(bias=0.0), (vectors, vectors), torch.tensor([1, 2]))
    wanted = 2 * math.log(1 + math.exp(-1)) + 2 * math.log(2)
    assert float(total) == pytest.approx(wanted)


@pytest.mark.parametrize("trainable", [True, False])
def test_the_temperature_learns_when_it_may(
    trainable: bool, task: ZeroShotImageClassification
) -> None:
    from finetune.training.coupled import CoupledStep

    model: Any = task.load_model(TINY / "clip", LoadOptions(dropout=0.0)).model
    model.logit_scale.requires_grad_(trainable)
    size = model.config.vision_config.image_size
    pixels = np.asarray(noise(2, 3, size, size))
    features = task.encode([{"text": "a red circle"}, {"text": "a blue square"}])
    for item, values in zip(features, pixels, strict=True):
        item["pixel_values"] = values
    batches = [task.collate(features[:1]), task.collate(features[1:])]
    step = CoupledStep(task, model, batches, [False, False])
    step.embed()
    step.differentiate(model)
    for number, batch in enumerate(batches):
        step.surrogate(number, batch, factor=1.0, world=1, last=number == 1).backward()
    assert (model.logit_scale.grad is not None) == trainable
    assert model.visual_projection.weight.grad.norm() > 0


def test_a_long_caption_is_cut_keeps_its_end_and_is_measured(
    task: ZeroShotImageClassification,
) -> None:
    task.max_length = 6
    row = task.measure([{"text": "a red circle " * 20, "image": None}])[0]
    assert row["length"] == len(row["input_ids"]) == 6 < row["n_tokens"]
    assert row["input_ids"][-1] == task.processor.tokenizer.eos_token_id


def test_captions_of_one_length_have_no_mask(task: ZeroShotImageClassification) -> None:
    """SigLIP was trained on captions padded to one length, padding attended to."""
    task.fixed_length = task.config_limit = 16
    batch = task.collate(task.encode([{"text": "a red circle"}, {"text": "a"}]))
    assert batch["input_ids"].shape == (2, 16)
    assert "attention_mask" not in batch


def test_a_tokenizer_without_masks_means_one_length(
    task: ZeroShotImageClassification, tmp_path: Path
) -> None:
    import shutil

    shutil.copytree(TINY / "clip", tmp_path / "base")
    file = tmp_path / "base" / "tokenizer_config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**config, "model_input_names": ["input_ids"]}), encoding="utf-8")
    again = ZeroShotImageClassification()
    again.load_processor(tmp_path / "base")
    assert again.fixed_length == again.config_limit == 77


def test_siglip_learns_by_its_own_loss(tmp_path: Path) -> None:
    base = ARCHITECTURES["siglip"].write(tmp_path / "base")
    model: Any = base.load().model
    task = ZeroShotImageClassification()
    batch = {**base.inputs(), "group": torch.tensor([1, 2])}
    total, rows = task.loss(model, batch)
    model.requires_grad_(True)
    total, rows = task.loss(model, batch)
    total.backward()
    assert int(rows) == 2
    assert model.logit_bias.grad.abs() > 0
    assert model.logit_scale.grad is not None
    output = model(**base.inputs())
    logits = output.logits_per_image.float()
    wanted = -torch.nn.functional.logsigmoid(logits * (2 * torch.eye(2) - 1)).sum()
    assert total.item() == pytest.approx(wanted.item(), rel=1e-4)


def test_chance_is_right_once_in_as_many_captions_as_there_are(
    task: ZeroShotImageClassification,
) -> None:
    rows = [{"text": text} for text in "aaaab"]
    found = task.score(task.baselines()["chance"]([], rows), list("aaaab"))
    assert found["recall_at_1"] == found["zero_shot_accuracy"] == 0.5


def test_the_rank_is_judged_for_retrieval_and_the_caption_for_accuracy(
    task: ZeroShotImageClassification,
) -> None:
    from finetune.tasks.base import Prediction

    found = task.score([Prediction("a", 0.5, rank=2), Prediction("b", 0.5, rank=1)], ["a", "b"])
    assert found["recall_at_1"] == 0.5
    assert found["recall_at_5"] == 1.0
    assert found["zero_shot_accuracy"] == 1.0
