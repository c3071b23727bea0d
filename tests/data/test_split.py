"""Splits are disjoint, complete, stable, and safe for every label."""

import random
from collections import Counter, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.data.split import SplitOptions, cut, cut_folds, draw
from finetune.errors import ConfigError

SHARES = {"train": 0.7, "validation": 0.15, "test": 0.15}


def key(value) -> bytes:
    return str(value).encode()


rows_and_labels = st.lists(st.tuples(st.integers(0, 200), st.sampled_from("abcde")), min_size=1)


@given(rows_and_labels, st.integers(0, 5), st.booleans())
@settings(max_examples=60, deadline=None)
def test_every_row_gets_one_split_and_equal_rows_the_same(rows, seed, stratify):
    groups, labels = [key(row) for row, _ in rows], [label for _, label in rows]
    chosen, _ = cut(groups, labels, SHARES, seed=seed, stratify=stratify)
    assert len(chosen) == len(rows)
    assert set(chosen) <= set(SHARES)
    where = defaultdict(set)
    for group, split in zip(groups, chosen, strict=True):
        where[group].add(split)
    assert all(len(splits) == 1 for splits in where.values())


@given(rows_and_labels, st.integers(0, 5), st.booleans())
@settings(max_examples=60, deadline=None)
def test_every_label_can_be_learnt(rows, seed, stratify):
    groups, labels = [key(row) for row, _ in rows], [label for _, label in rows]
    chosen, _ = cut(groups, labels, SHARES, seed=seed, stratify=stratify)
    taught = {label for label, split in zip(labels, chosen, strict=True) if split == "train"}
    assert taught == set(labels)


@given(rows_and_labels, st.randoms())
@settings(max_examples=60, deadline=None)
def test_the_order_of_rows_changes_nothing(rows, chance):
    shuffled = rows.copy()
    chance.shuffle(shuffled)

    def by_row(rows):
        groups, labels = [key(row) for row, _ in rows], [label for _, label in rows]
        chosen, _ = cut(groups, labels, SHARES, seed=1)
        return dict(zip(groups, chosen, strict=True))

    assert by_row(rows) == by_row(shuffled)


@given(st.integers(3, 60), st.integers(0, 20))
@settings(max_examples=60, deadline=None)
def test_no_split_is_empty_when_rows_allow_it(count, seed):
    for labels in (None, ["a"] * count):
        chosen, _ = cut([key(i) for i in range(count)], labels, SHARES, seed=seed)
        assert set(chosen) == set(SHARES)


def test_shares_hold_overall_and_within_each_label():
    labels = ["common"] * 1000 + ["rare"] * 40
    chosen, _ = cut([key(i) for i in range(1040)], labels, SHARES, seed=0)
    for label, count in (("common", 1000), ("rare", 40)):
        found = Counter(s for s, item in zip(chosen, labels, strict=True) if item == label)
        for split, share in SHARES.items():
            assert abs(found[split] - share * count) <= 2


def test_shares_hold_overall_when_every_label_has_few_rows():
    labels = [str(i // 3) for i in range(300)]
    chosen, _ = cut([key(i) for i in range(300)], labels, SHARES, seed=0)
    assert all(abs(Counter(chosen)[split] - 300 * share) <= 2 for split, share in SHARES.items())


def test_another_seed_cuts_otherwise():
    groups = [key(i) for i in range(100)]
    assert cut(groups, None, SHARES, seed=0) == cut(groups, None, SHARES, seed=0)
    assert cut(groups, None, SHARES, seed=0) != cut(groups, None, SHARES, seed=1)


def test_a_label_with_one_row_goes_to_train_and_is_named():
    labels = ["a"] * 50 + ["once"]
    chosen, said = cut([key(i) for i in range(51)], labels, SHARES, seed=0)
    assert chosen[-1] == "train"
    assert said == ["1 label has one row, which went to train: `once`."]


def test_groups_stay_together():
    chance = random.Random(0)
    groups = [key(chance.randrange(30)) for _ in range(300)]
    chosen, _ = cut(groups, None, SHARES, seed=0)
    where = defaultdict(set)
    for group, split in zip(groups, chosen, strict=True):
        where[group].add(split)
    assert max(len(splits) for splits in where.values()) == 1
    assert abs(Counter(chosen)["test"] - 45) < 15


def test_a_split_without_a_share_gets_nothing():
    chosen, _ = cut(
        [key(i) for i in range(40)], None, {"train": 0.8, "test": 0.2, "x": 0.0}, seed=0
    )
    assert Counter(chosen) == {"train": 32, "test": 8}


@pytest.mark.parametrize("shares", [(0.8, 0.15, 0.15), (0.0, 0.5, 0.5), (1.2, -0.1, -0.1)])
def test_shares_that_do_not_add_up_are_refused(shares):
    train, validation, test = shares
    with pytest.raises(ConfigError, match="must add up to 1"):
        SplitOptions(train, validation, test).shares()


def test_drawing_keeps_every_label_that_it_has_room_for_and_ignores_order():
    labels = ["a"] * 85 + ["b"] * 14 + ["c"]
    groups = [key(i) for i in range(100)]
    chosen = draw(groups, labels, 12, seed=0)
    assert sum(chosen) == 12
    assert {label for label, stays in zip(labels, chosen, strict=True) if stays} == {"a", "b", "c"}
    backwards = draw(groups[::-1], labels[::-1], 12, seed=0)
    assert backwards[::-1] == chosen
    assert all(draw(groups, None, 200, seed=0))


def test_drawing_few_rows_of_many_labels_takes_fewer_labels():
    labels = [str(i % 50) for i in range(500)]
    chosen = draw([key(i) for i in range(500)], labels, 20, seed=0)
    assert sum(chosen) == 20
    assert len({label for label, stays in zip(labels, chosen, strict=True) if stays}) == 5


@given(rows_and_labels, st.integers(2, 6), st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_over_all_folds_every_row_is_tested_once_but_labels_of_one_unit(rows, folds, seed):
    groups, labels = [key(row) for row, _ in rows], [label for _, label in rows]
    units = defaultdict(set)
    for group, label in zip(groups, labels, strict=True):
        units[label].add(group)
    times = Counter()
    for fold in range(folds):
        chosen, _ = cut_folds(groups, labels, SplitOptions(folds=folds, fold=fold, seed=seed))
        taught = {label for label, split in zip(labels, chosen, strict=True) if split == "train"}
        assert set(labels) == taught
        times.update(row for row, split in enumerate(chosen) if split == "test")
    assert set(times.values()) <= {1}
    if all(len(found) >= folds * 3 for found in units.values()):
        assert sum(times.values()) == len(rows)


@pytest.mark.parametrize(
    "options",
    [SplitOptions(time="a", folds=2), SplitOptions(time="a", group_by="b"),
     SplitOptions(folds=3, fold=3)],
)  # fmt: skip
def test_ways_to_cut_that_contradict_each_other_are_refused(options):
    with pytest.raises(ConfigError):
        options.shares()
