"""How much memory a process may still take: of a device, or of the host and its container."""

from __future__ import annotations

import os
from pathlib import Path

import torch


def available(device: torch.device) -> int | None:
    """Return the bytes that this process may still take on a device, None where nobody knows."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free + cached)
    if device.type != "cpu":
        return None
    found = [each for each in (of_host(), of_cgroup()) if each is not None]
    return min(found) // int(os.environ.get("LOCAL_WORLD_SIZE", 1)) if found else None


def of_host(file: Path = Path("/proc/meminfo")) -> int | None:
    """Return the bytes that a Linux host has left."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(found[0]) * 1024 if found else None


def of_cgroup(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Return the bytes that a container's limit leaves, None where it has none."""
    for limit, used, stat in (
        ("memory.max", "memory.current", "memory.stat"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
    ):
        try:
            bound, now = (root / limit).read_text().strip(), int((root / used).read_text())
            lines = [line.split() for line in (root / stat).read_text().splitlines()]
        except (OSError, ValueError):
            continue
        # files that were read and can be read again
        cached = sum(int(line[1]) for line in lines if line[0] == "inactive_file")
        return max(0, int(bound) - now + cached) if bound.isdigit() else None
    return None
