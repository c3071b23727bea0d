"""The mean of all tokens, in a folder that sentence-transformers loads without this project."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from finetune.errors import ArtefactError
from finetune.models import merge, strategy
from finetune.models.load import LoadOptions, Quantization
from finetune.tasks import pooled
from finetune.tasks.text_classification import TextClassification
from tests.models.bases import ARCHITECTURES, LORA, TINY, answers, disturb, tokens

TEXTS = ["my card was stolen", "when does the parcel arrive, please tell me", "ok"]


def mean_task(folder: Path = TINY / "bert") -> TextClassification:
    task = TextClassification(pooling="mean")
    task.labels = ["a", "b", "c"]
    task.load_processor(folder)
    return task


def logits(task: TextClassification, model: Any) -> torch.Tensor:
    return answers(model, task.collate(task.encode([{"text": text} for text in TEXTS])))


@pytest.fixture
def exported(tmp_path: Path) -> tuple[TextClassification, Any, Path]:
    task = mean_task()
    model = task.load_model(TINY / "bert", LoadOptions()).model
    task.save_model(model, tmp_path / "merged")
    return task, model, tmp_path / "merged"


def test_the_head_is_new_and_no_pooler_is_left_without_gradient() -> None:
    found = mean_task().load_model(TINY / "bert", LoadOptions())
    assert found.new_modules == ["classifier"]
    assert not [name for name, _ in found.model.named_parameters() if "pooler" in name]


def test_sentence_transformers_loads_the_folder_in_silence(
    exported: Any, caplog: pytest.LogCaptureFixture
) -> None:
    library = pytest.importorskip("sentence_transformers")
    task, model, folder = exported
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", module="torch")
        loaded = library.SentenceTransformer(str(folder), device="cpu")
        found = loaded.encode(TEXTS, batch_size=2)
    assert not caplog.records
    assert np.abs(found - logits(task, model).numpy()).max() <= 1e-4
    assert [type(part).__name__ for part in loaded] == ["Transformer", "Pooling", "Dense"]
    assert loaded.max_seq_length == task.limit()


def test_a_saved_folder_loads_with_its_head(exported: Any) -> None:
    task, model, folder = exported
    found = task.load_model(folder, LoadOptions(seed=9))
    assert found.new_modules == []
    assert torch.equal(logits(task, found.model), logits(task, model))


def test_a_head_for_other_labels_is_refused(exported: Any) -> None:
    task, _, folder = exported
    task.labels = ["a", "b"]
    with pytest.raises(ArtefactError, match="3 labels, the data 2"):
        task.load_model(folder, LoadOptions())


@pytest.mark.parametrize("quantized", [False, True])
def test_an_adapter_folds_in(quantized: bool, tmp_path: Path) -> None:
    task = mean_task()
    options = LoadOptions(quantization=Quantization() if quantized else None)
    found = task.load_model(TINY / "bert", options)
    assert type(found.model.classifier) is torch.nn.Linear
    model: Any = strategy.apply(
        found.model, peft_type="LORA", options=LORA, new_modules=found.new_modules
    )
    disturb(model)
    model.eval().save_pretrained(str(tmp_path), save_embedding_layers=False)
    plain: Any = task.load_model(TINY / "bert", LoadOptions()).model
    if quantized:
        merge.dequantise_into(plain, task.load_model(TINY / "bert", options).model)
    folded = merge.merged(merge.with_adapter(plain, tmp_path))
    wanted = logits(task, model)
    tolerance = (1e-3 if quantized else 1e-5) * max(1.0, float(wanted.abs().max()))
    assert (logits(task, folded) - wanted).abs().max() <= tolerance


def test_an_architecture_that_pools_by_itself_stays_a_plain_class(tmp_path: Path) -> None:
    base = ARCHITECTURES["modernbert"].write(tmp_path / "base")
    found = pooled.load(base.folder, LoadOptions(), labels=["a", "b"])
    assert type(found.model).__name__ == "ModernBertForSequenceClassification"
    assert found.model.config.classifier_pooling == "mean"
    assert not isinstance(found.model, pooled.module_class())
    found.model.save_pretrained(str(tmp_path / "merged"))
    again = pooled.load(tmp_path / "merged", LoadOptions(), labels=["a", "b"])
    assert again.new_modules == []
    assert torch.equal(answers(again.model, tokens()), answers(found.model, tokens()))


def test_padding_has_no_part_in_the_mean() -> None:
    task = mean_task()
    model = task.load_model(TINY / "bert", LoadOptions()).model
    alone = answers(model, task.collate(task.encode([{"text": TEXTS[2]}])))
    assert torch.allclose(logits(task, model)[2], alone[0], atol=1e-5)
