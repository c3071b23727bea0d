"""Whether a launch asks for shards."""

from __future__ import annotations

import pytest

from finetune.training import sharding


@pytest.mark.parametrize("name", sharding.ASKED)
@pytest.mark.parametrize(("value", "asked"), [("true", True), ("1", True), ("false", False)])
def test_it_is_told_by_what_accelerate_sets(monkeypatch, name, value, asked):
    for each in sharding.ASKED:
        monkeypatch.delenv(each, raising=False)
    assert not sharding.is_asked_for()
    monkeypatch.setenv(name, value)
    assert sharding.is_asked_for() is asked
