"""Pairs as tokens: what carries loss, what is cut, and how two sequences lie in a batch."""

from __future__ import annotations

import pytest
import torch

from finetune.errors import DataError
from finetune.tasks import pairs
from tests.tasks.test_preference import ROW, of, said, task, user

__all__ = ["task"]  # a fixture


def parts(task, item):
    """Return what of both sequences is read, and what of it carries loss, as text."""
    cut, found = item["chosen_tokens"], []
    for part in (slice(None, cut), slice(cut, None)):
        ids, labels = item["input_ids"][part], item["labels"][part]
        answer = [label for label in labels if label != -100]
        found.append((task.processor.decode(ids), task.processor.decode(answer)))
    return found


def test_an_answer_carries_loss_with_its_end_and_what_was_asked_does_not(task):
    end = task.processor.eos_token
    (whole, chosen), (other, rejected) = parts(task, task.encode([ROW])[0])
    assert "one tea" in whole
    assert "one tea" in other
    assert chosen == f"tea x1{end}"
    assert rejected == f"tea x2{end}"


def test_texts_are_what_messages_are(task):
    texts = {"prompt": "one tea", "chosen": "tea x1", "rejected": "tea x2"}
    assert task.encode([texts]) == task.encode([ROW])


def test_a_system_prompt_in_a_column_stands_before_the_question(task):
    asked = {**ROW, "prompt": [{"role": "system", "content": "be brief"}, user("one tea")]}
    assert task.encode([{**ROW, "system": "be brief"}]) == task.encode([asked])
    assert task.encode([{**asked, "system": "be brief"}]) == task.encode([asked])
    assert task.encode([{**ROW, "system": None}]) == task.encode([ROW])


def test_of_a_longer_talk_only_turns_after_the_parting_carry_loss(task):
    row = {
        "prompt": [user("one tea"), said("tea x1"), user("no, two")],
        "chosen": [said("tea x2")],
        "rejected": [said("sorry"), user("well"), said("tea x3")],
    }
    (_, chosen), (_, rejected) = parts(task, task.encode([row])[0])
    end = task.processor.eos_token
    assert chosen == f"tea x2{end}"
    assert rejected.replace(end, "") == "sorrytea x3"


def test_what_is_too_long_is_cut_at_its_end(task):
    [whole] = task.encode([ROW])
    asked = next(n for n, label in enumerate(whole["labels"]) if label != -100)
    [cut] = of(task, max_length=asked + 2).encode([ROW])
    assert cut["length"] == asked + 2 < cut["n_tokens"] == whole["n_tokens"]
    assert sum(label != -100 for label in cut["labels"]) == 4
    [empty] = of(task, max_length=asked).encode([ROW])
    assert all(label == -100 for label in empty["labels"])
    assert task.units(task.collate([empty, cut])) == 1


def test_rows_that_are_no_pair_are_refused_without_their_text(task):
    with pytest.raises(DataError, match="`rejected` is what is chosen") as caught:
        task.encode([{**ROW, "rejected": ROW["chosen"]}])
    assert "tea" not in str(caught.value)


def test_a_pair_is_two_neighbouring_rows_of_a_batch(task):
    other = {**ROW, "rejected": [said("no tea")]}
    batch = task.collate(task.encode([ROW, {**other, "reference": [-1.0, -2.0]}]))
    assert batch["input_ids"].shape[0] == 4
    assert "reference" not in batch, "not all rows carry it"
    batch = task.collate(task.encode([{**other, "reference": [-1.0, -2.0]}]))
    assert batch["reference"].tolist() == [[-1.0, -2.0]]


def test_half_a_pair_teaches_nothing():
    labels = torch.tensor([[-100, 5, 6], [-100, -100, -100], [-100, 5, -100], [-100, -100, 7]])
    assert pairs.complete({"labels": labels}).tolist() == [0, 1]
    alone = torch.tensor([[5, -100], [5, 6]])
    assert pairs.complete({"labels": alone}).tolist() == [0], "no token stands before the first"
