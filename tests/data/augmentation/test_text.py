"""Texts: words leave or change places, protected ones don't, and something always stays."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.data.augmentation.text import TextChanges

TEXT = "I do NOT want a refund, I want a new card."
texts = st.text(st.sampled_from("ab é世\u200d\u2028\t\n .,!"), max_size=60) | st.text(max_size=40)


def changed(changes, text, seed=0):
    return changes.apply(text, np.random.default_rng(seed))


@given(texts, st.floats(0, 0.5), st.integers(0, 99))
def test_deletion_keeps_some_words_in_their_order(text, delete, seed):
    found = changed(TextChanges(delete=delete), text, seed)
    left = iter(text.split())
    assert all(word in left for word in found.split())
    assert bool(found.split()) == bool(text.split())


@given(texts, st.integers(0, 99))
def test_swapping_keeps_every_word_and_all_space(text, seed):
    found = changed(TextChanges(swap=0.5), text, seed)
    assert Counter(found.split()) == Counter(text.split())
    assert Counter(found) == Counter(text)


@given(texts, st.integers(0, 99))
def test_without_settings_or_chance_the_text_stays(text, seed):
    assert changed(TextChanges(), text, seed) == text
    assert changed(TextChanges(delete=0.5, probability=0), text, seed) == text


@given(st.integers(0, 999))
def test_protected_words_stay_whatever_their_case_and_marks(seed):
    changes = TextChanges(delete=0.5, protected=("not", "Refund"))
    assert {"NOT", "refund,"} <= set(changed(changes, TEXT, seed).split())
    swaps = TextChanges(swap=0.5, protected=("not", "Refund"))
    words = changed(swaps, TEXT, seed).split()
    assert [words.index("NOT"), words.index("refund,")] == [2, 5]


def test_rates_are_those_asked_for():
    text = " ".join(str(n) for n in range(2000))
    assert len(changed(TextChanges(delete=0.1), text).split()) == pytest.approx(1800, abs=60)
    words = changed(TextChanges(swap=0.1), text).split()
    moved = sum(int(word) != place for place, word in enumerate(words))
    assert moved == pytest.approx(2 * 2000 * 0.1 / 1.1, abs=80)


def test_a_moved_word_moves_one_place():
    words = changed(TextChanges(swap=0.5), " ".join(str(n) for n in range(500))).split()
    assert max(abs(int(word) - place) for place, word in enumerate(words)) == 1


def test_the_space_between_words_stays():
    assert changed(TextChanges(swap=0.5), " a\tb\n", 1) in (" a\tb\n", " b\ta\n")
    found = {changed(TextChanges(delete=0.5), " a\tb\n", seed) for seed in range(50)}
    assert found == {" a\tb\n", " a\n", " b\n"}


def test_the_same_draw_gives_the_same_text():
    changes = TextChanges(delete=0.2, swap=0.2)
    found = "\n".join(changed(changes, TEXT, seed) for seed in range(20))
    assert len(set(found.split("\n"))) > 10
    assert hashlib.sha256(found.encode()).hexdigest()[:16] == "f75a65e0e2c0ae5c"
