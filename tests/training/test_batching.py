"""Batches: by the seed alone, cut so that nothing is lost, doubled or out of step."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from finetune.training.batching import (
    MicroBatch,
    StepSampler,
    halve,
    share,
)
from finetune.training.sampling import Balanced, Shuffled

sizes = st.integers(1, 40)
rows = st.integers(1, 200)
worlds = st.integers(1, 5)
seeds = st.integers(0, 2**32 - 1)


def plans(
    rows: int,
    size: int,
    micro: int,
    world: int,
    seed: int,
    grouped: bool,
    epoch: int = 0,
    order=None,
):
    """Return [step][rank] → micro-batches."""
    lengths = [(row * 7) % 13 for row in range(rows)] if grouped else None
    samplers = [
        StepSampler(
            order or Shuffled(rows, seed),
            size=size,
            micro=micro,
            rank=rank,
            world=world,
            lengths=lengths,
        )
        for rank in range(world)
    ]
    for sampler in samplers:
        sampler.set_epoch(epoch)
    return [[rank[0] for rank in step] for step in zip(*map(list, samplers), strict=True)], samplers


@given(rows, sizes, sizes, worlds, seeds, st.booleans())
def test_every_row_is_met_exactly_once_per_epoch(rows, size, micro, world, seed, grouped):
    steps, _ = plans(rows, size, micro, world, seed, grouped)
    met = [
        row
        for step in steps
        for rank in step
        for piece in rank
        if not piece.filler
        for row in piece.rows
    ]
    assert sorted(met) == list(range(rows))


@given(rows, sizes, sizes, sizes, worlds, worlds, seeds, st.booleans())
def test_global_batches_do_not_depend_on_micro_batch_or_world(
    rows, size, one, other, here, there, seed, grouped
):
    def batches(micro, world):
        steps, _ = plans(rows, size, micro, world, seed, grouped)
        return [
            {r for rank in step for piece in rank if not piece.filler for r in piece.rows}
            for step in steps
        ]

    assert batches(one, here) == batches(other, there)


@given(rows, sizes, sizes, worlds, seeds, st.booleans())
def test_all_ranks_have_the_same_number_of_micro_batches(rows, size, micro, world, seed, grouped):
    steps, samplers = plans(rows, size, micro, world, seed, grouped)
    assert all(len({len(rank) for rank in step}) == 1 for step in steps)
    assert len(steps) == len(samplers[0])


@given(rows, sizes, sizes, worlds, seeds, st.booleans())
def test_no_micro_batch_is_empty_or_above_the_limit(rows, size, micro, world, seed, grouped):
    steps, _ = plans(rows, size, micro, world, seed, grouped)
    assert all(1 <= len(piece.rows) <= micro for step in steps for rank in step for piece in rank)


@given(rows, sizes, sizes, worlds, seeds, st.booleans())
def test_fillers_stand_only_where_rows_run_out(rows, size, micro, world, seed, grouped):
    steps, _ = plans(rows, size, micro, world, seed, grouped)
    for step in steps:
        pieces = [piece for rank in step for piece in rank]
        if any(piece.filler for piece in pieces):
            assert sum(len(piece.rows) for piece in pieces if not piece.filler) < len(pieces)
        assert all(len(piece.rows) == 1 for piece in pieces if piece.filler)
        assert not pieces or any(not piece.filler for piece in pieces)


def lengths_of(batch, micro, world):
    """Return by rank the lengths in each of its pieces."""
    lengths = {row: (row * 31) % 97 for row in batch}
    table = [lengths.get(row, 0) for row in range(501)]
    per_rank = [share(batch, micro=micro, rank=r, world=world, lengths=table) for r in range(world)]
    return [[[table[row] for row in p.rows] for p in rank if not p.filler] for rank in per_rank]


@given(st.lists(st.integers(0, 500), min_size=1, max_size=60, unique=True), sizes, worlds)
def test_grouping_puts_similar_lengths_together_on_each_rank(batch, micro, world):
    for pieces in lengths_of(batch, micro, world):
        ranges = sorted((min(piece), max(piece)) for piece in pieces)
        assert all(a[1] <= b[0] for a, b in pairwise(ranges))


@given(st.lists(st.integers(0, 500), min_size=1, max_size=60, unique=True), sizes, worlds)
def test_no_rank_waits_for_more_than_one_row_of_another(batch, micro, world):
    found = lengths_of(batch, micro, world)
    tokens = [sum(sum(piece) for piece in rank) for rank in found]
    assert max(tokens) - min(tokens) <= max(max(piece) for rank in found for piece in rank)


def test_the_sampler_follows_the_epoch():
    first, _ = plans(30, 8, 4, 1, 0, False, epoch=0)
    second, _ = plans(30, 8, 4, 1, 0, False, epoch=1)
    assert first != second


def test_the_last_global_batch_keeps_what_is_left():
    steps, _ = plans(7, 3, 9, 1, 0, False)
    assert [len(piece.rows) for (rank,) in steps for piece in rank] == [3, 3, 1]


@given(st.lists(st.lists(st.integers(), min_size=1, max_size=9), min_size=1, max_size=6))
def test_halving_keeps_rows_and_order_and_at_least_halves(pieces):
    plan = [MicroBatch(piece, filler=len(piece) == 1) for piece in pieces]
    halved = halve(plan)
    assert [row for micro in halved for row in micro.rows] == [r for piece in pieces for r in piece]
    assert max(len(m.rows) for m in halved) == max((len(piece) + 1) // 2 for piece in pieces)
    assert {r for m in plan if m.filler for r in m.rows} == {
        r for m in halved if m.filler for r in m.rows
    }


@given(st.lists(st.sampled_from("aab"), min_size=1, max_size=60), sizes, sizes, worlds, seeds)
def test_every_row_carries_its_visit_however_the_batch_is_cut(names, size, micro, world, seed):
    order = Balanced(names, seed)
    steps, samplers = plans(len(names), size, micro, world, seed, True, epoch=4, order=order)
    met = [
        [
            (row, *visit)
            for rank in step
            for piece in rank
            for part in halve([piece])
            if not part.filler
            for row, visit in zip(part.rows, part.visits, strict=True)
        ]
        for step in steps
    ]
    wanted = [(row, 4, n) for row, n in zip(*order.epoch(4), strict=True)]
    assert sorted(visit for step in met for visit in step) == sorted(wanted)
    assert [len(step) for step in met[:-1]] == [size] * (len(met) - 1)
    assert len(met) == len(samplers[0]) == -(-len(order) // size)
