"""Ranks: with one there is nothing to exchange; with two, tests/recipes/test_two_processes.py."""

from __future__ import annotations

import os
import socket
import time

import pytest
import torch
from torch import distributed, multiprocessing

from finetune.training import ranks


def test_a_rank_alone_exchanges_nothing():
    assert ranks.total(torch.tensor(3.0), 1) == 3
    assert ranks.largest(2, 1, "cpu") == 2
    assert ranks.gathered("part", 1) == ["part"]
    ranks.barrier(1)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def exchange(rank, folder, port):
    """Run on each of two ranks."""
    os.environ |= {
        "RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip
    ranks.join(folder, rank, 2, timeout=3, device="cpu")
    mine = torch.tensor(float(rank + 1))
    assert ranks.total(mine, 2) == 3
    assert mine == rank + 1, "the rank's own number must stay"
    assert ranks.largest(15 * rank, 2, "cpu") == 15
    assert ranks.gathered(f"part {rank}", 2) == ["part 0", "part 1"]
    ranks.barrier(2)
    side = ranks.group()
    assert side is distributed.group.WORLD, "gloo needs no second group"
    if rank == 1:
        gone = folder / "gone"
        while not gone.exists():
            time.sleep(0.05)
    else:
        began = time.monotonic()
        with pytest.raises(RuntimeError, match="3000ms"):
            ranks.largest(1, 2)
        assert time.monotonic() - began < 30, "gloo's own time-out is half an hour"
        (folder / "gone").touch()
    (folder / f"done-{rank}").touch()
    os._exit(0)  # a group that has timed out can't be left


@pytest.mark.slow
def test_two_ranks_agree_and_wait_no_longer_than_they_are_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["."]))
    multiprocessing.spawn(exchange, (tmp_path, free_port()), nprocs=2)
    assert {file.name for file in tmp_path.glob("done-*")} == {"done-0", "done-1"}
