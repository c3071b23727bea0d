"""Validation: every row once, in its order, whatever the ranks."""

from __future__ import annotations

import contextlib
import math

import pytest
import torch

from finetune.tasks.base import CoupledTask, Prediction
from finetune.training import validation
from finetune.training.rows import Rows


class Echo:
    """A task that answers what it is asked; a unit is a number's value."""

    row_metrics = ("perplexity",)

    def collate(self, features):
        return {"x": torch.tensor([item["x"] for item in features])}

    def loss(self, model, batch):
        return (batch["x"] ** 2).sum(), batch["x"].sum()

    def predict(self, model, rows, *, batch_size):
        return [Prediction(row["x"]) for row in rows]

    def references(self, rows):
        return [row["x"] for row in rows]

    def score(self, predictions, references):
        self.seen = [p.value for p in predictions], list(references)
        return {"agreement": float([p.value for p in predictions] == references)}


class Raw(list):
    """What `select` of a data set gives."""

    def select(self, places):
        return Raw(self[place] for place in places)

    def to_list(self):
        return list(self)


def rows(count):
    raw = Raw({"x": float(n + 1)} for n in range(count))
    return Rows([str(n) for n in range(count)], raw, [1] * count, lambda p: [raw[n] for n in p])


def judged(task, count, world, batch_size=2):
    split, model = rows(count), torch.nn.Linear(1, 1)
    return [
        validation.judge(
            task,
            model,
            split,
            list(range(rank, count, world)),
            batch_size=batch_size,
            precision=contextlib.nullcontext,
        )
        for rank in range(world)
    ]


@pytest.mark.parametrize("world", [1, 2, 3, 5])
@pytest.mark.parametrize("count", [1, 4, 7])
def test_each_row_counts_once_in_its_order_whatever_the_ranks(count, world):
    task = Echo()
    found = validation.scores(task, judged(task, count, world), "eval")
    numbers = [float(n + 1) for n in range(count)]
    assert task.seen == (numbers, numbers)
    assert found["eval_loss"] == pytest.approx(sum(n * n for n in numbers) / sum(numbers))
    assert found["eval_agreement"] == 1.0


class Shapes(Echo):
    """Notes what is padded, and what goes together."""

    def __init__(self):
        self.padded, self.batches = 0, []

    def collate(self, features):
        self.batches.append([int(item["x"]) - 1 for item in features])
        lengths = [LENGTHS[number] for number in self.batches[-1]]
        self.padded += sum(max(lengths) - length for length in lengths)
        return super().collate(features)


LENGTHS = [3, 9, 3, 9, 3, 9, 3, 9]


def of_lengths(task):
    split = rows(len(LENGTHS))
    split = Rows(split.ids, split.raw, LENGTHS, split.fetch)
    model, places = torch.nn.Linear(1, 1), list(range(len(LENGTHS)))
    return validation.judge(
        task, model, split, places, batch_size=4, precision=contextlib.nullcontext
    )


def test_rows_go_beside_those_of_their_length_and_answer_in_their_order():
    task = Shapes()
    part = of_lengths(task)
    assert task.padded == 0
    assert part.places == list(range(len(LENGTHS)))
    numbers = [place + 1.0 for place in part.places]
    assert [prediction.value for prediction in part.predictions] == part.references == numbers
    assert part.loss == sum((n + 1.0) ** 2 for n in range(len(LENGTHS)))


def test_rows_that_are_contrasted_keep_their_neighbours(monkeypatch):
    monkeypatch.setattr(CoupledTask, "__abstractmethods__", frozenset())
    contrasting = type("Contrasting", (Shapes, CoupledTask), {})
    task = contrasting()
    of_lengths(task)
    assert task.batches == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_ranks_share_rows_unless_they_must_go_together(monkeypatch):
    assert validation.share(5, rank=1, world=2, together=False) == ([1, 3], 2)
    assert validation.share(5, rank=1, world=2, together=True) == ([0, 1, 2, 3, 4], 1)
    monkeypatch.setattr(CoupledTask, "__abstractmethods__", frozenset())
    assert [validation.batch_size(CoupledTask(), micro) for micro in (1, 64)] == [32, 32]
    assert [validation.batch_size(Echo(), micro) for micro in (1, 64)] == [2, 32]


def test_perplexity_is_of_the_mean_loss_and_stays_finite():
    parts = [validation.Part([], loss=6.0, units=3.0)]
    assert validation.scores(Echo(), parts, "eval")["eval_perplexity"] == pytest.approx(math.exp(2))
    parts = [validation.Part([], loss=1e9, units=1.0)]
    assert math.isfinite(validation.scores(Echo(), parts, "eval")["eval_perplexity"])
