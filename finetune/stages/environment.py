"""What the run ran on and with, for the manifest."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "accelerate",
    "datasets",
    "bitsandbytes",
    "trl",
    "safetensors",
    "tokenizers",
    "numpy",
)

DECISIVE = ("torch", "transformers", "peft", "accelerate", "bitsandbytes")
"""Packages whose version decides the last bits of what is trained."""


def describe(*, device: str, world_size: int) -> dict[str, Any]:
    """Return versions and machine."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_bytes": memory_bytes(),
        "device": device,
        "world_size": world_size,
        "packages": {name: version(name) for name in PACKAGES},
    }


def attempt(*, device: str, precision: str, world_size: int) -> dict[str, Any]:
    """Return what the last bits of a result depend on: versions, device, threads."""
    import torch

    from finetune.version import __version__

    kind = device.split(":")[0]
    return {
        "world_size": world_size,
        "device": kind,
        "precision": precision,
        "threads": torch.get_num_threads(),
        "processor": torch.cuda.get_device_name(device) if kind == "cuda" else processor(),
        "versions": {"finetune": __version__, **{name: version(name) for name in DECISIVE}},
    }


def version(name: str) -> str | None:
    """Return an installed package's version."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def processor() -> str:
    """Return the processor's name."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def memory_bytes() -> int | None:
    """Return the machine's memory."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def git() -> dict[str, Any] | None:
    """Return the commit of the working directory, None outside a repository."""
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True
        ).stdout.strip()
        dirty = subprocess.run(
            ["git", "status", "--porcelain"], capture_output=True, text=True, timeout=5, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "dirty": bool(dirty)}
