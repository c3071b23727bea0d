"""Run a function on two ranks, each a process of its own, joined by gloo."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import distributed, multiprocessing


def enter(rank: int, folder: str, work: Callable[[int, Path], Any]) -> None:
    """Join the group, work, and leave the result in a file."""
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )
    torch.save(work(rank, Path(folder)), Path(folder) / f"result-{rank}")
    distributed.barrier()
    distributed.destroy_process_group()


def results(folder: Path, work: Callable[[int, Path], Any]) -> list[Any]:
    """Return what a function of a module returns on rank 0 and on rank 1."""
    multiprocessing.spawn(enter, (str(folder), work), nprocs=2)
    return [torch.load(folder / f"result-{rank}", weights_only=False) for rank in (0, 1)]
