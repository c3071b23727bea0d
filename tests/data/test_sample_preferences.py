"""What the preferences sample promises."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from finetune.data.preferences import pair
from tests.data.test_sample_intents_chat import SAMPLES, script


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    text = (SAMPLES / "preferences/preferences.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_the_generator_writes_the_bundled_file_byte_for_byte(tmp_path) -> None:
    written = script("samples.preferences").write(tmp_path)
    assert written.read_bytes() == (SAMPLES / "preferences/preferences.jsonl").read_bytes()


def test_every_row_is_a_pair_of_different_answers_to_a_question_of_its_own(rows) -> None:
    assert len(rows) >= 300
    for row in rows:
        prompt, chosen, rejected = pair(row)
        assert prompt[-1]["role"] == "user"
        assert chosen != rejected
    assert len({row["prompt"][-1]["content"].lower() for row in rows}) == len(rows)


def test_neither_the_longer_nor_the_shorter_answer_is_the_better_one(rows) -> None:
    sizes = [(len(r["chosen"][0]["content"]), len(r["rejected"][0]["content"])) for r in rows]
    longer = sum(chosen > rejected for chosen, rejected in sizes)
    shorter = sum(chosen < rejected for chosen, rejected in sizes)
    assert max(longer, shorter) < 0.6 * len(rows)
    flaws = Counter(row["flaw"] for row in rows)
    assert set(flaws) == {"count", "added", "dropped", "wordy"}
    assert min(flaws.values()) > 20
