"""What a run does without to take less memory, as it says it; tests/training measures it."""

from __future__ import annotations

import types

from finetune.stages import memory
from finetune.training import memory_plan
from finetune.training.memory_plan import Plan


def config(**train):
    values = {"gradient_checkpointing": "auto", "micro_batch_size": "auto", "optim": "sgd"}
    return types.SimpleNamespace(train=types.SimpleNamespace(**{**values, **train}))


def test_a_choice_is_said_by_the_main_process_and_goes_on_record(monkeypatch, capsys):
    asked = {}

    def settle(trainer, **options):
        asked.update(options)
        return Plan(True, "it does not fit", 4)

    monkeypatch.setattr(memory_plan, "settle", settle)
    for rank, said in ((0, "   activations are computed again: it does not fit\n"), (1, "")):
        trainer = types.SimpleNamespace(args=types.SimpleNamespace(process_index=rank))
        facts = memory.plan(config(), trainer)
        assert facts["memory_plan"]["gradient_checkpointing"] is True
        assert capsys.readouterr().err == said
    assert asked == {"asked": "auto", "may_cut": True, "optim": "sgd"}
    memory.plan(config(micro_batch_size=4, gradient_checkpointing=True), trainer)
    assert asked == {"asked": True, "may_cut": False, "optim": "sgd"}
