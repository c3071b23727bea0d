"""Where to compute and in which precision: what the device does natively, and nothing slower."""

from __future__ import annotations

import os
from dataclasses import dataclass

from finetune.errors import ConfigError
from finetune.stages import processors


@dataclass(frozen=True)
class Device:
    """Where a stage computes."""

    name: str
    """cpu, cuda, cuda:1 or mps."""
    precision: str
    """fp32, bf16 or fp16: of the computation while training."""

    @property
    def frozen_weights(self) -> str:
        """Type that weights are held in which are not trained."""
        return (
            "bfloat16" if self.precision == "bf16" and self.name.startswith("cuda") else "float32"
        )


def choose(device: str, precision: str) -> Device:
    """Resolve `auto` to what is there.

    Raises:
        ConfigError: The device or the precision asked for is not there.
    """
    import torch

    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if device == "cuda" and not cuda:
        raise ConfigError(
            "`train.device=cuda` is asked for, but torch sees no CUDA device.",
            fix="Use train.device=auto.",
        )
    if device == "mps" and not mps:
        raise ConfigError(
            "`train.device=mps` is asked for, but torch sees no Apple GPU.",
            fix="Use train.device=auto.",
        )
    name = device if device != "auto" else "cuda" if cuda else "mps" if mps else "cpu"
    if name == "cuda":
        name = f"cuda:{int(os.environ.get('LOCAL_RANK', 0)) % max(torch.cuda.device_count(), 1)}"
    if precision == "fp16" and not name.startswith("cuda"):
        raise ConfigError(
            f"`train.precision=fp16` needs a CUDA device, but training runs on {name}.",
            fix="Use train.precision=auto.",
        )
    if precision == "auto":
        precision = "bf16" if name.startswith("cuda") and torch.cuda.is_bf16_supported() else "fp32"
    return Device(name, precision)


def slower_than_needed(device: Device) -> str | None:
    """Return a sentence about a precision that this processor has no instructions for, if so."""
    if device.name != "cpu" or device.precision != "bf16" or processors.computes_bf16():
        return None
    return (
        "train.precision=bf16 is computed about 3 times slower than fp32 here: this processor has "
        "no instructions for it; train.precision=auto takes fp32."
    )


def world() -> tuple[int, int]:
    """Return this process's rank and the number of processes, before any process group exists."""
    return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
