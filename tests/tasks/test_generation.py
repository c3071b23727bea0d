"""Answers stop at their end token, and scores are those of the answer alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from finetune.models.load import LoadOptions
from finetune.tasks import generation
from finetune.tasks.text_generation import TextGeneration
from tests.models.bases import TINY


def test_an_answer_ends_with_its_first_end_token() -> None:
    assert generation.cut([5, 6, 2, 7, 2], {2}) == [5, 6, 2]
    assert generation.cut([5, 6], {2}) == [5, 6]


def test_every_end_token_of_model_and_tokenizer_ends() -> None:
    tokenizer = SimpleNamespace(eos_token_id=2)
    assert generation.end_tokens(SimpleNamespace(), tokenizer) == {2}
    model = SimpleNamespace(generation_config=SimpleNamespace(eos_token_id=[3, 4]))
    assert generation.end_tokens(model, tokenizer) == {2, 3, 4}


def test_a_dropped_end_token_counts_as_a_step() -> None:
    assert generation.steps_of([5, 6], {2}) == generation.steps_of([5, 6, 2], {2}) == 3


def test_the_score_is_of_the_answer_s_steps_alone() -> None:
    steps = [torch.tensor([-1.0, -9.0]), torch.tensor([-3.0, -9.0]), torch.tensor([-50.0, -9.0])]
    assert generation.mean_score(steps, 0, 2) == -2.0
    assert generation.mean_score([], 0, 2) is None


def conversation(question: str, answer: str) -> dict[str, Any]:
    roles = zip(("user", "assistant"), (question, answer), strict=True)
    return {"messages": [{"role": role, "content": content} for role, content in roles]}


@pytest.fixture(scope="module")
def taught() -> tuple[TextGeneration, Any, list[dict[str, Any]]]:
    """The minute GPT after a few steps on answers of different length."""
    rows = [conversation("say a", "aa"), conversation("say b", "bb bb bb bb")]
    task = TextGeneration(max_new_tokens=40)
    task.load_processor(TINY / "gpt")
    model = task.load_model(TINY / "gpt", LoadOptions(dropout=0.0)).model
    batch = task.collate(task.encode(rows))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(30):
        total, units = task.loss(model, batch)
        (total / units).backward()
        optimizer.step()
        optimizer.zero_grad()
    return task, model, rows


def test_stopping_is_learnt(taught: Any) -> None:
    task, model, rows = taught
    with torch.inference_mode():
        total, units = task.loss(model, task.collate(task.encode(rows)))
    assert float(total / units) < 0.05
    assert [p.value for p in task.predict(model, rows)] == task.references(rows)
    assert [p.value for p in task.predict(model, rows, batch_size=1)] == task.references(rows)


def test_a_sure_answer_scores_near_nothing_and_never_above(taught: Any) -> None:
    task, model, rows = taught
    scores = [prediction.score for prediction in task.predict(model, rows)]
    assert all(-0.1 < score <= 0 for score in scores)


def test_an_answer_is_never_longer_than_allowed(taught: Any) -> None:
    task, model, rows = taught
    short = TextGeneration(max_new_tokens=2)
    short.processor, short.config_limit = task.processor, task.config_limit
    answer = short.predict(model, rows[1:])[0].value
    assert rows[1]["messages"][1]["content"].startswith(answer)
    assert 0 < len(task.processor(answer)["input_ids"]) <= 2
