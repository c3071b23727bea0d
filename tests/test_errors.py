"""The error tree: codes, sentences, and the nearest names."""

from __future__ import annotations

import re

import pytest

from finetune import errors
from finetune.errors import ConfigError, FinetuneError, Interrupted, TimeIsUp, did_you_mean, nearest


def subclasses() -> list[type[FinetuneError]]:
    return [
        item
        for item in vars(errors).values()
        if isinstance(item, type) and issubclass(item, FinetuneError) and item is not FinetuneError
    ]


@pytest.mark.parametrize("kind", subclasses(), ids=lambda kind: kind.__name__)
def test_the_tree_drawn_in_the_docstring_has_every_error_with_its_code(kind):
    drawn = re.search(rf"── {kind.__name__} +(\d+) ", errors.__doc__ or "")
    assert drawn
    code = kind(2, "x").exit_code if kind is Interrupted else kind.exit_code  # type: ignore[arg-type]
    assert code == int(drawn.group(1))


def test_codes_are_distinct_and_none_is_that_of_a_fault_of_the_program():
    codes = [kind.exit_code for kind in subclasses() if not issubclass(kind, Interrupted)]
    assert len(set(codes)) == len(codes)
    assert not {0, 1} & set(codes)


def test_a_signal_gives_its_code():
    assert Interrupted(2, "x").exit_code == 130
    assert Interrupted(15, "x").exit_code == 143


def test_a_used_up_time_budget_is_no_failure():
    assert TimeIsUp("x").exit_code == TimeIsUp.exit_code == 0


def test_an_error_carries_its_sentences_apart_and_reads_as_one():
    error = ConfigError(["A.", "B."], fix="Do C.", where="train.csv:17")
    assert error.problems == ["A.", "B."]
    assert (error.fix, error.where, str(error)) == ("Do C.", "train.csv:17", "A. B. Do C.")
    assert ConfigError("A.").problems == ["A."]


def test_the_nearest_names_come_best_first_whatever_their_case():
    assert nearest("lroa", ["full", "qlora", "lora"])[0] == "lora"
    assert nearest("LORA", ["Lora"]) == ["Lora"]
    assert nearest("zzz", ["lora"]) == []
    assert nearest("max_stps", ["eval_steps", "max_steps"]) == ["max_steps"]
    assert did_you_mean("lroa", ["lora"]) == ", did you mean `lora`?"
    assert did_you_mean("zzz", ["lora"]) == ""
