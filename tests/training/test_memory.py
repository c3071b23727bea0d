"""Memory that runs out."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch

from finetune.training.memory import OutOfMemory, agreed, is_out_of_memory


@pytest.mark.parametrize(
    "message",
    [
        "CUDA out of memory. Tried to allocate 2.00 GiB",
        "MPS backend out of memory",
        "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: not enough memory",
        "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes",
    ],
)
def test_memory_that_ran_out_is_known_by_its_message(message):
    assert is_out_of_memory(RuntimeError(message))


def test_another_failure_is_not_taken_for_it():
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes"), agreed(1):
        raise RuntimeError("shapes")


def test_what_filled_the_memory_is_let_go_of():
    found = []

    def fill():
        tensor = torch.ones(3)
        found.append(weakref.ref(tensor))
        raise RuntimeError("out of memory")

    with pytest.raises(OutOfMemory) as caught, agreed(1):
        fill()
    assert isinstance(caught.value.__cause__, RuntimeError)
    gc.collect()
    assert found[0]() is None


def test_another_rank_without_memory_stops_this_one_too(monkeypatch):
    monkeypatch.setattr("finetune.training.memory.ranks.largest", lambda *_: 1)
    with pytest.raises(OutOfMemory), agreed(2):
        pass
