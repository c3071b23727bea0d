"""Lengths: what is cut, dropped or divided, and what carries loss."""

from __future__ import annotations

import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.errors import ConfigError, DataError
from finetune.stages import lengths


class Lengths:
    """A task whose row n has n tokens, cut at 4, and whose labels are as given."""

    processor = None
    tag = "lengths"

    def limit(self):
        return 4

    def measure(self, rows):
        return [
            {"length": min(row["n"], 4), "n_tokens": row["n"], "labels": row["labels"]}
            for row in rows
        ]


def made(*rows):
    """Return a split of (tokens, labels) rows."""
    return Dataset.from_list(
        [{"id": f"a:{i}", "n": n, "labels": labels} for i, (n, labels) in enumerate(rows)]
    )


def apply(policy, **splits):
    return lengths.apply(Lengths(), splits, policy)


FINE = (3, [1])


def test_truncating_counts_rows_and_tokens():
    kept, tokens, dropped = apply("truncate", train=made(FINE, (9, [1])), test=made((5, [1])))
    assert dropped == []
    assert [len(split) for split in kept.values()] == [2, 1]
    assert (tokens["truncated_rows"], tokens["tokens_lost"], tokens["max"]) == (2, 6, 9)
    assert "answerless_rows" not in tokens


def test_dropping_drops_from_every_split():
    kept, tokens, dropped = apply("drop", train=made(FINE, (9, [1])), test=made((5, [1]), FINE))
    assert {entry["reason"] for entry in dropped} == {"is longer than the model takes"}
    assert len(dropped) == 2
    assert [len(split) for split in kept.values()] == [1, 1]
    assert tokens["truncated_rows"] == 0


def test_refusing_names_the_rows():
    with pytest.raises(DataError, match="a:1") as caught:
        apply("error", train=made(FINE, (9, [1])))
    assert "task.max_length" in caught.value.fix


def test_a_training_row_without_a_labelled_token_is_dropped_and_counted():
    masked = (3, [-100, -100])
    kept, tokens, dropped = apply("truncate", train=made(FINE, masked), test=made(masked))
    assert (len(dropped), tokens["untrainable_rows"]) == (1, 1)
    assert "no answer left" in dropped[0]["reason"]
    assert tokens["answerless_rows"] == {"test": 1}
    assert [len(split) for split in kept.values()] == [1, 1]


def test_training_rows_that_are_all_masked_are_refused():
    with pytest.raises(DataError, match="carries loss") as caught:
        apply("truncate", train=made((3, [-100])))
    assert caught.value.exit_code == 3


def test_rows_whose_answer_belongs_to_the_whole_are_not_divided():
    with pytest.raises(ConfigError, match="lengths"):
        apply("split", train=made((9, [1])))


class Words:
    """A tokenizer of words with two special tokens a text."""

    def num_special_tokens_to_add(self):
        return 2

    def __call__(self, text, **options):
        offsets, place = [], 0
        for word in text.split(" "):
            offsets.append((place, place + len(word)))
            place += len(word) + 1
        return {"offset_mapping": offsets}


@given(st.integers(1, 60), st.integers(3, 20))
@settings(max_examples=40, deadline=None)
def test_a_divided_text_loses_no_word_and_no_part_is_too_long(count, limit):
    text = " ".join(f"w{number}" for number in range(count))
    parts = lengths.pieces(Words(), text, limit)
    assert " ".join(parts) == text
    assert all(len(part.split(" ")) + 2 <= limit for part in parts)


class Texts:
    """A task of texts that may be divided."""

    processor, tag, divisible = Words(), "texts", "text"

    def limit(self):
        return 4

    def measure(self, rows):
        found = [len(row["text"].split(" ")) + 2 for row in rows]
        return [{"n_tokens": count, "length": min(count, 4)} for count in found]


def test_dividing_keeps_every_word_and_touches_training_rows_only():
    train = Dataset.from_list(
        [{"id": "a:1", "text": "one two three four five", "label": "x"},
         {"id": "a:2", "text": "short", "label": "y"}]
    )  # fmt: skip
    test = Dataset.from_list([{"id": "b:1", "text": "one two three", "label": "x"}])
    kept, tokens, out = lengths.apply(Texts(), {"train": train, "test": test}, "split")
    assert kept["train"].to_list() == [
        {"id": "a:1/1", "text": "one two", "label": "x"},
        {"id": "a:1/2", "text": "three four", "label": "x"},
        {"id": "a:1/3", "text": "five", "label": "x"},
        {"id": "a:2", "text": "short", "label": "y"},
    ]
    assert kept["test"].to_list() == test.to_list()
    assert (tokens["divided_rows"], tokens["truncated_rows"], tokens["tokens_lost"]) == (1, 1, 1)
    assert out[0]["before"] == "one two three four five"


class Recordings(Lengths):
    """A task that hears 30 seconds of rows of n tokens and as many seconds as are given."""

    def seconds(self):
        return 30

    def measure(self, rows):
        return [
            {**found, "seconds": row["seconds"], "overlong": row["n"] > 4 or row["seconds"] > 30}
            for row, found in zip(rows, super().measure(rows), strict=True)
        ]


HEARD = [(3, 40.0), (9, 10.0), (9, 50.0), (3, 30.0)]


def recordings(policy):
    rows = [
        {"id": f"a:{i}", "n": n, "labels": [1], "seconds": seconds}
        for i, (n, seconds) in enumerate(HEARD)
    ]
    return lengths.apply(Recordings(), {"train": Dataset.from_list(rows)}, policy)


def test_sound_that_is_not_heard_is_counted_apart_from_tokens_that_are_cut():
    _, tokens, _ = recordings("truncate")
    assert (tokens["truncated_rows"], tokens["tokens_lost"]) == (2, 10)
    assert (tokens["audio_seconds"]["unheard_rows"], tokens["audio_seconds"]["window"]) == (2, 30)


def test_what_is_dropped_says_for_which_of_the_two():
    _, tokens, dropped = recordings("drop")
    assert [entry["reason"] for entry in dropped] == [lengths.UNHEARD, lengths.LONG, lengths.LONG]
    assert (tokens["truncated_rows"], tokens["audio_seconds"]["unheard_rows"]) == (0, 0)
