"""How much memory is left: of the host, of its container, for each process of it."""

from __future__ import annotations

import types

import pytest
import torch

from finetune.training import free_memory

MEMINFO = "MemTotal: 16000 kB\nMemFree: 100 kB\nMemAvailable:    8000 kB\n"


def group(folder, limit, used, inactive, *, version=2):
    """Write the files of a control group."""
    names = ("memory.max", "memory.current", "memory.stat")
    if version == 1:
        folder = folder / "memory"
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat")
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in zip(names, (limit, used, f"anon 5\ninactive_file {inactive}"), strict=True):
        (folder / name).write_text(f"{text}\n")


def test_the_host_says_what_is_available_not_what_is_free(tmp_path):
    (tmp_path / "meminfo").write_text(MEMINFO)
    assert free_memory.of_host(tmp_path / "meminfo") == 8000 * 1024
    assert free_memory.of_host(tmp_path / "absent") is None


@pytest.mark.parametrize("version", [1, 2])
def test_a_container_s_limit_counts_less_what_it_holds_but_files(tmp_path, version):
    group(tmp_path, 1000, 700, 200, version=version)
    assert free_memory.of_cgroup(tmp_path) == 500


def test_a_container_without_a_limit_says_nothing(tmp_path):
    group(tmp_path, "max", 700, 200)
    assert free_memory.of_cgroup(tmp_path) is None
    assert free_memory.of_cgroup(tmp_path / "absent") is None


def test_the_tighter_of_both_is_shared_by_the_processes_of_a_host(monkeypatch):
    monkeypatch.setattr(free_memory, "of_host", lambda: 900)
    monkeypatch.setattr(free_memory, "of_cgroup", lambda: 600)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert free_memory.available(torch.device("cpu")) == 600
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    assert free_memory.available(torch.device("cpu")) == 200
    monkeypatch.setattr(free_memory, "of_host", lambda: None)
    monkeypatch.setattr(free_memory, "of_cgroup", lambda: None)
    assert free_memory.available(torch.device("cpu")) is None


def test_what_torch_keeps_of_a_device_is_free_as_well(monkeypatch):
    cuda = types.SimpleNamespace(
        mem_get_info=lambda _device: (100, 1000),
        memory_reserved=lambda _device: 50,
        memory_allocated=lambda _device: 20,
    )
    monkeypatch.setattr(torch, "cuda", cuda)
    assert free_memory.available(torch.device("cuda")) == 130


def test_of_other_devices_nobody_knows():
    assert free_memory.available(torch.device("mps")) is None
