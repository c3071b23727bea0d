"""How many cores a process may use, and what they compute natively."""

from __future__ import annotations

import math
import os
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
CGROUPS = Path("/sys/fs/cgroup")
NATIVE_BF16 = {"avx512_bf16", "amx_bf16", "avx_ne_convert", "bf16", "svebf16"}
"""Names of processor features, of x86 and Arm, that make bf16 as fast as fp32 or faster."""


def allowed() -> int:
    """Return how many cores this process may run on."""
    return (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    )


def quota(root: Path = CGROUPS) -> float | None:
    """Return how many cores' worth of time a container grants, None without a limit."""
    try:
        if (root / "cpu.max").is_file():
            granted, period = (root / "cpu.max").read_text("utf-8").split()
        else:
            granted = (root / "cpu/cpu.cfs_quota_us").read_text("utf-8").strip()
            period = (root / "cpu/cpu.cfs_period_us").read_text("utf-8").strip()
        return None if granted in ("max", "-1") else int(granted) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def threads() -> int | None:
    """Return how many threads to compute with; None leaves it to torch, which knows the machine.

    OpenMP knows nothing of a container's quota, beyond which its threads are put to sleep, nor of
    other ranks on the same machine.
    """
    said = os.environ.get("LOCAL_WORLD_SIZE", "1")
    ranks = int(said) if said.isdigit() else 1
    cores, time = allowed(), quota()
    limit = cores if time is None else min(cores, max(1, math.ceil(time)))
    return None if limit == cores and ranks <= 1 else max(1, limit // max(1, ranks))


def settle() -> None:
    """Say so to OpenMP before torch is imported, unless the user has."""
    count = threads()
    if count is not None:
        os.environ.setdefault("OMP_NUM_THREADS", str(count))


def computes_bf16(cpuinfo: Path = CPUINFO) -> bool:
    """Tell whether the processor has instructions for bf16; one that says nothing may have."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").lower().splitlines()
    except OSError:
        return True
    listed = [line for line in lines if line.startswith(("flags", "features"))]
    return not listed or bool(NATIVE_BF16 & set(listed[0].partition(":")[2].split()))
