"""The order of an epoch: complete, balanced, and by seed and epoch alone."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from finetune.training.sampling import Balanced, Shuffled

classes = st.lists(st.sampled_from(["ham", "spam", "", "ä"]), min_size=1, max_size=80)
seeds = st.integers(0, 2**32 - 1)


@given(classes, seeds, st.integers(0, 50))
def test_every_class_comes_equally_often_and_every_row_at_least_once(names, seed, epoch):
    order = Balanced(names, seed).epoch(epoch)
    assert len(set(Counter(names[row] for row in order.rows).values())) == 1
    assert set(order.rows) == set(range(len(names)))
    assert len(order.rows) == len(order.repeats) == len(Balanced(names, seed))


@given(classes, seeds)
def test_rows_of_a_class_differ_by_at_most_one_turn(names, seed):
    turns = Counter(Balanced(names, seed).epoch(3).rows)
    for name in set(names):
        found = [turns[row] for row in range(len(names)) if names[row] == name]
        assert max(found) - min(found) <= 1


@given(classes, seeds)
def test_a_repeated_row_is_told_from_its_first_visit(names, seed):
    order = Balanced(names, seed).epoch(0)
    visits = list(zip(order.rows, order.repeats, strict=True))
    assert len(set(visits)) == len(visits)
    assert {(row, 0) for row in range(len(names))} <= set(visits)


@given(classes, seeds)
def test_seed_and_epoch_decide_alone(names, seed):
    assert Balanced(names, seed).epoch(2) == Balanced(list(names), seed).epoch(2)


def test_epochs_and_seeds_differ():
    names = ["a"] * 20 + ["b"] * 7
    orders = {tuple(Balanced(names, seed).epoch(n).rows) for seed in (0, 1) for n in (0, 1)}
    assert len(orders) == 4
    extra = [Counter(Balanced(names, 0).epoch(n).rows) for n in (0, 1)]
    assert extra[0] != extra[1], "which rare rows come once more is drawn anew"


def test_where_classes_are_even_each_row_comes_once():
    assert sorted(Balanced(["a", "b"] * 9, 5).epoch(0).rows) == list(range(18))


def test_no_rows_have_an_empty_epoch():
    assert len(Balanced([], 0)) == 0
    assert Balanced([], 0).epoch(0).rows == []
    assert Shuffled(0, 0).epoch(0).rows == []


@given(st.integers(1, 200), seeds)
def test_a_shuffled_epoch_has_each_row_once(rows, seed):
    order = Shuffled(rows, seed).epoch(1)
    assert sorted(order.rows) == list(range(rows))
    assert set(order.repeats) == {0}
    assert order == Shuffled(rows, seed).epoch(1)
