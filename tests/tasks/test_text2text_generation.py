"""Sources and targets: cutting, shifting and how long an answer may get."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from finetune.models.load import LoadOptions
from finetune.tasks.text2text_generation import Text2textGeneration, shorten
from tests.models.bases import TINY


@pytest.fixture
def task() -> Text2textGeneration:
    found = Text2textGeneration(max_length=10, max_target_length=5)
    found.load_processor(TINY / "t5")
    return found


def test_what_is_cut_keeps_its_end_token() -> None:
    assert shorten([5, 6, 7, 1], 3, 1) == [5, 6, 1]
    assert shorten([5, 6, 7, 8], 3, 1) == [5, 6, 7], "there was none to keep"
    assert shorten([5, 1], 3, 1) == [5, 1]
    assert shorten([5, 6, 7, 1], None, 1) == [5, 6, 7, 1]


def test_long_texts_are_cut_and_measured(task: Text2textGeneration) -> None:
    row = task.encode([{"source": "first of may " * 9, "target": "1 2 3 4 5 6 7"}])[0]
    end = task.processor.eos_token_id
    assert len(row["input_ids"]) == 10
    assert len(row["labels"]) == 5
    assert row["input_ids"][-1] == row["labels"][-1] == end
    assert row["length"] == 15 < row["n_tokens"]


def test_the_decoder_reads_the_labels_one_place_to_the_right(task: Text2textGeneration) -> None:
    batch = task.collate(
        task.encode([{"source": "a", "target": "1"}, {"source": "b", "target": "123"}])
    )
    labels, read = batch["labels"], batch["decoder_input_ids"]
    assert read[:, 0].tolist() == [task.decoder_start] * 2
    kept = labels[:, :-1] != -100
    nexts = labels[:, 1:] != -100
    assert (read[:, 1:][kept & nexts] == labels[:, :-1][kept & nexts]).all()
    assert (labels == -100).any()
    assert not (read == -100).any()


def test_a_prefix_is_put_before_each_source(task: Text2textGeneration) -> None:
    plain = task.encode([{"source": "date: x"}])[0]["input_ids"]
    task.prefix = "date: "
    assert task.encode([{"source": "x"}])[0]["input_ids"] == plain


def test_an_answer_may_be_half_as_long_again_as_the_longest_target(
    task: Text2textGeneration, tmp_path: Path
) -> None:
    task.learn({"tokens": {"target_max": 20}})
    model = task.load_model(TINY / "t5", LoadOptions()).model
    assert task.answer_limit(model) == 38
    task.save_model(model, tmp_path)
    written = json.loads((tmp_path / "generation_config.json").read_text(encoding="utf-8"))
    assert written["max_new_tokens"] == 38
    assert "max_length" not in written
    fresh = Text2textGeneration()
    fresh.load_processor(tmp_path)
    assert fresh.answer_limit(fresh.load_model(tmp_path, LoadOptions()).model) == 38


def test_the_card_says_what_it_does() -> None:
    assert Text2textGeneration(pipeline_tag="translation").hub_tag == "translation"
    assert Text2textGeneration(primary_metric="bleu").scored_by[0] == "bleu"
