"""Synthetic rows: no repeat of any split's row, marked, counted, and the same each time."""

from __future__ import annotations

import pyarrow as pa
import pytest

from finetune.data.augmentation.synthesis import synthesise
from finetune.data.kinds import Label, Text
from finetune.errors import ConfigError, DataError

KINDS = {"text": Text(), "label": Label()}
SCHEMA = pa.schema([("id", "string"), ("text", "string"), ("label", "string"), ("from", "string")])


def table(name, count):
    labels = ["tea", "milk"]
    rows = [
        {"id": f"{name}:{n}", "text": f"{name} row {n}", "label": labels[n % 4 == 0], "from": "us"}
        for n in range(count)
    ]
    return pa.Table.from_pylist(rows, SCHEMA)


@pytest.fixture
def tables():
    return {"train": table("train", 20), "validation": table("dev", 4), "test": table("test", 4)}


def by_first_word(tables, columns):
    """Call texts nearly alike that begin with the same three words."""
    texts = [text for part in tables for text in part[columns[0]].to_pylist()]
    keys = [" ".join(text.split()[:3]) for text in texts]
    return [keys.index(key) for key in keys]


def model(*answers):
    """Answer with these in turn."""
    prompts = []

    def complete(asked, number):
        prompts.append(list(asked))
        return [answers[n % len(answers)].format(n=f"{number}-{n}") for n in range(len(asked))]

    return complete, prompts


def made(tables, complete, **options):
    return synthesise(
        tables, KINDS, complete=complete, near=by_first_word, rows=6, seed=1, **options
    )


def test_rows_are_added_at_the_end_marked_and_counted(tables):
    found = made(tables, model("{n} is a new one")[0])
    assert found.table["synthetic"].to_pylist() == [False] * 20 + [True] * 6
    assert found.table.slice(0, 20).drop_columns("synthetic") == tables["train"]
    assert found.table["id"].to_pylist()[20:] == [f"synthetic:{n}" for n in range(1, 7)]
    assert found.table["from"].to_pylist()[20:] == [None] * 6
    assert found.audit["added"] == 6
    assert found.audit["by_label"] == {"milk": 3, "tea": 3}, "labels take turns, rare or not"
    assert found.quarantine == []


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_a_row_of_any_split_is_not_made_up_again(tables, split):
    answers = (f"{split} row 3", f"{split} row 2 again", "...", "{n} is new")
    found = made(tables, model(*answers)[0])
    texts = found.table["text"].to_pylist()[20:]
    assert all(text.endswith("is new") for text in texts)
    assert min(found.audit["dropped"][why] for why in ("exact", "near", "unusable")) > 0
    assert sum(found.audit["dropped"].values()) == len(found.quarantine)
    assert {line["reason"] for line in found.quarantine} == {"is exact", "is near", "is unusable"}


def test_a_model_that_repeats_itself_adds_one_row_and_ends(tables):
    complete, prompts = model("always the same thing")
    found = made(tables, complete, rounds=3)
    assert found.audit["added"] == 1
    assert len(prompts) == 3


def test_only_training_rows_are_shown_and_those_of_the_label(tables):
    complete, prompts = model("{n} is a new one")
    made(tables, complete, labels=["milk"], examples=3)
    for prompt in prompts[0]:
        shown = [line for line in prompt.splitlines() if line.startswith("- ")]
        assert len(shown) == 3
        assert all(int(text.split()[-1]) % 4 == 0 for text in shown)
        assert "dev" not in prompt
        assert "test" not in prompt


def test_the_same_seed_shows_the_same_examples(tables):
    first, second = model("{n} is a new one"), model("{n} is a new one")
    assert made(tables, first[0]).table == made(tables, second[0]).table
    assert first[1] == second[1]


def test_labels_that_are_not_there_are_refused(tables):
    with pytest.raises(ConfigError, match="did you mean `milk`"):
        made(tables, model("x")[0], labels=["mlik"])


def test_without_training_rows_there_is_nothing_to_show(tables):
    with pytest.raises(DataError, match="needs training rows"):
        made({**tables, "train": tables["train"].slice(0, 0)}, model("x")[0])


def test_of_proposals_that_are_nearly_alike_one_is_kept(tables):
    found = made(tables, model("nearly the same thing {n}")[0])
    assert found.audit["added"] == 1
    assert found.audit["dropped"]["near"] == found.audit["proposed"] - 1
