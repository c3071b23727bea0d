"""A task with a reference: what it promises by default."""

from __future__ import annotations

from finetune import tasks
from finetune.tasks.referred import ReferredTask


def test_every_task_with_a_reference_asks_once_and_can_be_told_not_to():
    found = [tasks.find(tag) for tag in tasks.tags() if issubclass(tasks.find(tag), ReferredTask)]
    assert found
    for kind in found:
        assert kind().needs_reference
        assert kind().precompute_reference
        assert not kind(precompute_reference=False).precompute_reference
