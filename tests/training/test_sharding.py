"""Whether a launch asks for shards."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest

from finetune.errors import ConfigError
from finetune.training import sharding


@pytest.mark.parametrize("name", sharding.ASKED)
@pytest.mark.parametrize(("value", "asked"), [("true", True), ("1", True), ("false", False)])
def test_it_is_told_by_what_accelerate_sets(monkeypatch, name, value, asked):
    for each in sharding.ASKED:
        monkeypatch.delenv(each, raising=False)
    assert not sharding.is_asked_for()
    monkeypatch.setenv(name, value)
    assert sharding.is_asked_for() is asked


def test_deepspeed_that_is_not_installed_is_said_with_the_command(monkeypatch):
    monkeypatch.setattr(sharding.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="DeepSpeed, which is not installed") as caught:
        sharding.refuse_without_deepspeed()
    assert "pip install" in caught.value.fix
    monkeypatch.setattr(sharding.importlib.util, "find_spec", lambda _: SimpleNamespace())
    sharding.refuse_without_deepspeed()


def test_ranks_on_a_cpu_exchange_by_gloo_and_not_over_shared_memory_without_a_time_out(monkeypatch):
    """A rank that died would keep the others waiting for ever."""
    ops = ModuleType("deepspeed.ops")
    ops.__compatible_ops__ = {"deepspeed_shm_comm": True}
    package = ModuleType("deepspeed")
    package.ops = ops
    monkeypatch.setitem(sys.modules, "deepspeed", package)
    sharding.without_shared_memory()
    assert ops.__compatible_ops__ == {"deepspeed_shm_comm": False}
