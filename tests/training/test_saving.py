"""When a checkpoint is written."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from finetune.training.saving import Saving


def asked(saving, step, *, evaluates=False, epoch=False):
    control = SimpleNamespace(should_save=False, should_evaluate=evaluates)
    hook = saving.on_epoch_end if epoch else saving.on_step_end
    hook(None, SimpleNamespace(global_step=step), control)
    return control.should_save


@pytest.mark.parametrize("epoch", [False, True])
def test_auto_saves_with_each_evaluation(epoch):
    saving = Saving("auto", None, evaluates=True)
    assert asked(saving, 1, evaluates=True, epoch=epoch)
    assert not asked(saving, 1, epoch=epoch)


def test_auto_saves_each_epoch_where_nothing_is_evaluated():
    saving = Saving("auto", None, evaluates=False)
    assert asked(saving, 5, epoch=True)
    assert not asked(saving, 5)


def test_steps_counts_steps_and_leaves_evaluations_alone():
    saving = Saving("steps", 3, evaluates=True)
    assert [step for step in range(1, 10) if asked(saving, step, evaluates=True)] == [3, 6, 9]
    assert not asked(saving, 3, epoch=True, evaluates=True)


def test_epoch_and_no():
    assert asked(Saving("epoch", None, evaluates=True), 4, epoch=True)
    assert not asked(Saving("epoch", None, evaluates=True), 4, evaluates=True)
    for epoch in (False, True):
        assert not asked(Saving("no", None, evaluates=True), 4, evaluates=True, epoch=epoch)
