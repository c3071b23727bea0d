"""The largest micro-batch that fits, found out before the first step."""

from __future__ import annotations

import pytest

from finetune.errors import NumericsError
from finetune.stages import train as stage
from finetune.tasks.text_classification import TextClassification
from finetune.training.probe import Probe
from tests.training.drive import config_of, log_of, train, weights_of

BERT = "text-classification"


@pytest.fixture
def memory(monkeypatch):
    """Rows that fit; what was asked for while the model trained."""
    memory = {"rows": 99, "asked": []}
    losses, make = TextClassification.row_losses, stage.make_trainer

    def bounded(self, model, batch):
        if model.training:
            memory["asked"].append(batch["input_ids"].shape)
            if len(batch["labels"]) > memory["rows"]:
                raise RuntimeError("CUDA out of memory.")
        return losses(self, model, batch)

    def probing(*args, callbacks=(), **kwargs):
        probe = Probe()
        trainer = make(*args, callbacks=[*callbacks, probe], **kwargs)
        probe.trainer = trainer
        return trainer

    monkeypatch.setattr(TextClassification, "row_losses", bounded)
    monkeypatch.setattr(stage, "make_trainer", probing)
    return memory


def test_the_longest_rows_decide_before_the_first_step(tmp_path, memory):
    memory["rows"] = 3
    options = ("train.max_steps=2", "train.micro_batch_size=8", "model.dropout=0.1")
    _, facts = train(config_of(BERT, tmp_path, *options))
    assert facts["micro_batch_size"] == 2
    assert [shape[0] for shape in memory["asked"][:4]] == [8, 4, 2, 2]
    assert max(shape[0] for shape in memory["asked"][4:]) == 2, "no step has failed"
    assert memory["asked"][0][1] == max(shape[1] for shape in memory["asked"])


def test_probing_changes_no_result(tmp_path, memory, monkeypatch):
    options = ("train.max_steps=2", "model.dropout=0.1")
    probed, _ = train(config_of(BERT, tmp_path / "probed", *options))
    monkeypatch.setattr(Probe, "on_train_begin", lambda *_, **__: None)
    plain, _ = train(config_of(BERT, tmp_path / "plain", *options))
    assert weights_of(probed, 2) == weights_of(plain, 2)
    assert log_of(probed) == log_of(plain)


def test_a_row_that_does_not_fit_alone_is_said(tmp_path, memory):
    memory["rows"] = 0
    with pytest.raises(NumericsError, match="1 row in a micro-batch"):
        train(config_of(BERT, tmp_path, "train.max_steps=2", "train.micro_batch_size=2"))
