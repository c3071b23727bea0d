"""How ranks come to one gradient."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from finetune.training import exchange, step
from finetune.training.exchange import Copies, Shards
from finetune.training.memory import OutOfMemory
from tests.training.two_ranks import results


class Squares:
    """A task that predicts y; its memory ends at five rows."""

    def units(self, batch):
        return len(batch["y"])

    def loss(self, model, batch):
        if len(batch["y"]) > 5:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return ((model(batch["x"])[:, 0] - batch["y"]) ** 2).sum(), len(batch["y"])


class Plain:
    """What of an accelerator a plain model needs."""

    def no_sync(self, model):
        return contextlib.nullcontext()

    def backward(self, loss):
        loss.backward()


def rows(count):
    torch.manual_seed(0)
    return {"x": torch.randn(count, 3), "y": torch.randn(count)}


def one_step(pieces, fillers, world):
    torch.manual_seed(1)
    model = nn.Linear(3, 1)
    units = step.units(Squares(), pieces, fillers, world)
    loss = step.backward(
        Squares(), model, pieces, fillers, units=units, world=world,
        exchange=Copies(Plain(), model, world), inner=model, precision=contextlib.nullcontext,
    )  # fmt: skip
    return loss, model.weight.grad, model.bias.grad


def cut(batch, *places):
    return [{key: value[a:b] for key, value in batch.items()} for a, b in places]


def work(rank, folder):
    """Everything that needs two processes, for starting one takes seconds."""
    found = {}
    batch = rows(9)
    shares = [cut(batch, (0, 3), (3, 5)), cut(batch, (5, 9), (0, 1))]
    found["step"] = one_step(shares[rank], [False, rank == 1], 2)
    large = cut(rows(12), (0, 6) if rank == 1 else (6, 8))
    try:
        one_step(large, [False], 2)
    except OutOfMemory:
        found["told"] = True
    weights = [nn.Parameter(torch.zeros(size)) for size in ((3,), (2, 2), (4,), (1,))]
    weights[0].grad = torch.full((3,), 1.0 + rank)
    if rank == 1:
        weights[1].grad = torch.ones(2, 2)
    weights[3].grad = torch.ones(1)
    exchange.add_up(weights)
    found["sums"] = [weight.grad for weight in weights]
    exchange.BUCKET_BYTES = 8
    for weight in weights:
        weight.grad = torch.full(weight.shape, 1.0 + rank)
    weights[1].grad = weights[1].grad.t()
    exchange.add_up(weights)
    found["pieces"] = [weight.grad for weight in weights]
    return found


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    return results(tmp_path_factory.mktemp("ranks"), work)


def test_two_ranks_have_the_gradient_of_one(ranks):
    expected = one_step(cut(rows(9), (0, 5), (5, 9)), [False, False], 1)
    for found in ranks:
        torch.testing.assert_close(found["step"], expected, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(ranks[0]["step"], ranks[1]["step"], rtol=0, atol=0)


def test_memory_that_ran_out_on_one_rank_stops_the_step_on_both(ranks):
    assert [found.get("told") for found in ranks] == [True, True]


def test_a_parameter_without_a_gradient_on_every_rank_keeps_none(ranks):
    for found in ranks:
        first, second, third, fourth = found["sums"]
        assert first.tolist() == [3.0] * 3
        assert second.tolist() == [[1.0] * 2] * 2
        assert third is None
        assert fourth.tolist() == [2.0]


def test_many_messages_add_up_alike(ranks):
    for found in ranks:
        assert all(bool((gradient == 3).all()) for gradient in found["pieces"])


def test_shards_exchange_with_the_last_micro_batch_alone():
    calls = []

    @contextlib.contextmanager
    def no_sync(model):
        calls.append("held back")
        yield

    accelerator = SimpleNamespace(no_sync=no_sync, backward=lambda loss: calls.append(loss))
    shards = Shards(accelerator, nn.Linear(1, 1), 2)
    shards.backward("first", last=False)
    shards.backward("second", last=True)
    assert calls == ["held back", "first", "second"]
    assert shards.factor == 2
