"""Conversations: cutting, untrainable rows, prompts that fit, and what is exported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from finetune.models.load import LoadOptions
from finetune.stages.lengths import measure
from finetune.tasks.text_generation import TextGeneration, asked
from tests.models.bases import TINY


def conversation(*contents: str) -> dict[str, Any]:
    roles = ("user", "assistant")
    return {
        "messages": [{"role": roles[n % 2], "content": text} for n, text in enumerate(contents)]
    }


@pytest.fixture
def task() -> TextGeneration:
    found = TextGeneration()
    found.load_processor(TINY / "gpt")
    return found


def test_the_limit_is_the_model_s(task: TextGeneration) -> None:
    assert task.limit() == 512
    task.max_length = 7
    assert task.limit() == 7


def test_a_long_conversation_is_cut_at_its_end_and_measured(task: TextGeneration) -> None:
    whole = task.encode([conversation("hi", "ho " * 20)])[0]
    task.max_length = 12
    cut = task.encode([conversation("hi", "ho " * 20)])[0]
    assert cut["input_ids"] == whole["input_ids"][:12]
    assert cut["labels"] == whole["labels"][:12]
    assert (cut["length"], cut["n_tokens"]) == (12, whole["n_tokens"])
    assert task.processor.eos_token_id not in cut["labels"], "it did not end here"


def test_a_row_whose_answer_is_cut_off_is_untrainable(task: TextGeneration) -> None:
    from datasets import Dataset

    task.max_length = 20
    rows = Dataset.from_list([conversation("long " * 40, "ho"), conversation("hi", "ho")])
    assert measure(task, rows).trainable.tolist() == [False, True]
    assert measure(task, rows).overlong.tolist() == [True, False]


def test_units_leave_out_a_first_token_that_nothing_predicts(task: TextGeneration) -> None:
    task.loss_on = "all"
    batch = task.collate(task.encode([conversation("hi", "ho")]))
    assert task.units(batch) == batch["input_ids"].shape[1] - 1


def test_the_last_answer_is_what_is_asked_for() -> None:
    row = conversation("a", "b", "c", "d")
    assert asked(row["messages"]) == row["messages"][:3]
    assert asked(row["messages"][:3]) == row["messages"][:3]


def test_a_prompt_longer_than_the_model_leaves_room_for_its_answer(task: TextGeneration) -> None:
    model = task.load_model(TINY / "gpt", LoadOptions()).model
    seen: list[Any] = []
    generate = model.generate

    def spy(**inputs: Any) -> Any:
        seen.append((inputs["input_ids"], inputs["max_new_tokens"]))
        return generate(**inputs)

    model.generate = spy
    task.max_new_tokens = 2000
    task.config_limit = 64
    rows = [conversation("word " * 300 + "END", "?"), conversation("hi", "?")]
    task.predict(model, rows)
    ids, most = seen[0]
    assert ids.shape[1] + most <= 64
    assert most == 32
    assert "END" in task.processor.decode(ids[0]), "the question's end is what is kept"
    assert "hi" in task.processor.decode(ids[1])


def test_the_exported_model_knows_when_to_stop(task: TextGeneration, tmp_path: Path) -> None:
    task.learn({"tokens": {"target_max": 10}})
    model = task.load_model(TINY / "gpt", LoadOptions()).model
    model.generation_config.eos_token_id = 0
    task.save_model(model, tmp_path)
    written = json.loads((tmp_path / "generation_config.json").read_text(encoding="utf-8"))
    assert written["eos_token_id"] == [0, task.processor.eos_token_id]
    assert written["pad_token_id"] == task.processor.pad_token_id
    assert written["max_new_tokens"] == 23
    assert (tmp_path / "chat_template.jinja").is_file()


def test_a_base_without_a_template_exports_the_default_one(tmp_path: Path) -> None:
    import shutil

    shutil.copytree(TINY / "gpt", tmp_path / "base")
    (tmp_path / "base" / "chat_template.jinja").unlink()
    task = TextGeneration()
    task.load_processor(tmp_path / "base")
    task.save_model(task.load_model(tmp_path / "base", LoadOptions()).model, tmp_path / "merged")
    text = (tmp_path / "merged" / "chat_template.jinja").read_text(encoding="utf-8")
    assert "{% generation %}" in text


def test_baselines_answer_conversations(task: TextGeneration) -> None:
    train = [conversation("open the door", "yes"), conversation("shut it", "no")]
    found = task.baselines()["nearest_neighbour"](train, [conversation("please shut it", "?")])
    assert found[0].value == "no"
