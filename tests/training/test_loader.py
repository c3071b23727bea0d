"""From a plan to tensors."""

from __future__ import annotations

import signal
import subprocess

import pytest
import torch

from finetune.training.batching import StepSampler
from finetune.training.loader import StepDataset, StepLoader, heed_the_parent_alone, only
from finetune.training.sampling import Shuffled


def fetch(rows, visits):
    assert len(rows) == len(visits)
    return [{"row": row} for row in rows]


def collate(features):
    return {"row": torch.tensor([item["row"] for item in features])}


def loader(rows=10, size=4, micro=3, workers=0):
    sampler = StepSampler(Shuffled(rows, 0), size=size, micro=micro, rank=0, world=1, lengths=None)
    dataset = StepDataset(rows, fetch, collate)
    return StepLoader(dataset, batch_sampler=sampler, collate_fn=only, num_workers=workers)


def rows_of(loader):
    return [[row for batch in step.batches for row in batch["row"].tolist()] for step in loader]


def test_one_item_is_one_optimiser_step_with_a_batch_for_each_micro_batch():
    for step in loader():
        assert len(step.plan) == len(step.batches)
        assert [b["row"].tolist() for b in step.batches] == [micro.rows for micro in step.plan]


def test_every_row_comes_once_an_epoch():
    assert sorted(row for step in rows_of(loader()) for row in step) == list(range(10))


def test_the_epoch_reaches_the_sampler():
    one = loader()
    first = rows_of(one)
    one.set_epoch(1)
    assert rows_of(one) != first


@pytest.mark.slow
def test_workers_make_the_same_batches():
    assert rows_of(loader(workers=2)) == rows_of(loader())


def test_the_dataset_is_as_long_as_its_rows():
    assert len(StepDataset(7, fetch, collate)) == 7


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_group_leaves_loader_workers_to_their_parent(number):
    """Else a run that is told to stop loses its workers before it has saved."""
    made = StepLoader(
        StepDataset(10, fetch, collate),
        batch_sampler=loader().batch_sampler,
        collate_fn=only,
        num_workers=1,
        worker_init_fn=heed_the_parent_alone,
    )
    steps = iter(made)
    next(steps)
    (worker,) = steps._workers
    helper = subprocess.run(["kill", f"-{int(number)}", str(worker.pid)], check=False)
    assert helper.returncode == 0
    assert sum(1 for _ in steps) == 2
    assert worker.is_alive() or worker.exitcode == 0
    del steps
    worker.join(20)
    assert worker.exitcode == 0
