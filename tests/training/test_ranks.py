"""Ranks: with one there is nothing to exchange; with two, tests/recipes/test_two_processes.py."""

from __future__ import annotations

import os

import pytest
import torch
from torch import distributed, multiprocessing

from finetune.training import ranks


def test_a_rank_alone_exchanges_nothing():
    assert ranks.total(torch.tensor(3.0), 1) == 3
    assert ranks.largest(2, 1, "cpu") == 2
    assert ranks.gathered("part", 1) == ["part"]
    ranks.barrier(1)


def exchange(rank, folder):
    """Run on each of two ranks."""
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2
    )
    mine = torch.tensor(float(rank + 1))
    assert ranks.total(mine, 2) == 3
    assert mine == rank + 1, "the rank's own number must stay"
    assert ranks.largest(15 * rank, 2, "cpu") == 15
    assert ranks.gathered(f"part {rank}", 2) == ["part 0", "part 1"]
    ranks.barrier(2)
    (folder / f"done-{rank}").touch()
    distributed.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_agree(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["."]))
    multiprocessing.spawn(exchange, (tmp_path,), nprocs=2)
    assert {file.name for file in tmp_path.glob("done-*")} == {"done-0", "done-1"}
