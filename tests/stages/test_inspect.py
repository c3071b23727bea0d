"""Inspect: what is trained is marked, token by token, for every kind of task."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from finetune import cli
from finetune.stages.inspect import described, marked
from tests.stages.finished import BERT, finished

TOKENIZER = SimpleNamespace(decode=lambda ids: "".join(chr(96 + number) for number in ids))
TASK = SimpleNamespace(processor=TOKENIZER, labels=["no", "yes"])


def test_each_stretch_that_carries_loss_is_marked():
    assert marked(TOKENIZER, [1, 2, 3, 4, 5], [-100, 2, 3, -100, 5]) == "a⟦bc⟧d⟦e⟧"
    assert marked(TOKENIZER, [1, 2], [1, 2]) == "⟦ab⟧"
    assert marked(TOKENIZER, [1, 2], [-100, -100]) == "ab"


@pytest.mark.parametrize(
    ("features", "last"),
    [
        ({"input_ids": [1, 2], "labels": [-100, 2]}, "a⟦b⟧"),
        ({"input_ids": [1, 2], "labels": 1}, "trained  ⟦yes⟧"),
        ({"input_ids": [1, 2], "labels": [3, 4, -100]}, "trained  2 tokens: ⟦cd⟧"),
        ({"input_ids": [1, 2]}, "trained  ⟦to belong together⟧"),
    ],
)
def test_what_is_trained_is_said_for_every_shape_of_labels(features, last):
    assert list(described(TASK, features))[-1] == last


def test_the_command_shows_a_row_by_its_id(capsys):
    run = finished(BERT)
    assert cli.call(["inspect", str(run.path)]) == 0
    first = capsys.readouterr().out.splitlines()
    row = first[0].split()[1]
    assert first[-1].startswith("trained  ⟦")
    assert cli.call(["inspect", str(run.path), row]) == 0
    assert capsys.readouterr().out.splitlines() == first


def test_a_row_that_is_not_there_is_a_mistake_of_the_command(capsys):
    assert cli.call(["inspect", str(finished(BERT).path), "nowhere.csv:1"]) == 2
    assert "nowhere.csv:1" in capsys.readouterr().err
