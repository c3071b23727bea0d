"""What happened while training."""

from __future__ import annotations

import logging
from types import SimpleNamespace

from finetune.runs import storage
from finetune.training.events import Events


def test_an_event_is_written_and_said(tmp_path, caplog):
    events = Events(tmp_path / "logs" / "events.jsonl")
    with caplog.at_level(logging.WARNING):
        events.add(3, "loss_spike", "The loss of step 3 is high.", loss=9.0, rows=["a:1"])
    assert storage.read_jsonl(events.file) == [
        {"step": 3, "event": "loss_spike", "loss": 9.0, "rows": ["a:1"]}
    ]
    assert "The loss of step 3 is high." in caplog.text


def test_a_resumed_run_drops_what_will_happen_again(tmp_path):
    events = Events(tmp_path / "events.jsonl")
    for step in (1, 2, 3):
        events.add(step, "loss_spike", "x")
    events.on_train_begin(None, SimpleNamespace(global_step=2), None)
    assert [line["step"] for line in storage.read_jsonl(events.file)] == [1, 2]


def test_other_ranks_are_silent(caplog):
    Events(None).add(1, "loss_spike", "x")
    assert caplog.text == ""
