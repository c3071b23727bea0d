"""Model inputs of texts kept between runs: to the byte those of a run that makes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from finetune.runs.folder import RunFolder
from finetune.stages import base_model, keeping, splits, tokens
from finetune.tasks.text_classification import TextClassification
from tests.contracts.cases import compose, prepared
from tests.stages.finished import BERT, GPT, T5


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FINETUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tokens, "LEAST", 1)
    monkeypatch.setattr(splits.in_pieces, "__defaults__", (10,))
    return tmp_path / "cache" / "frozen"


def files(run: RunFolder) -> dict[str, str]:
    return dict(run.manifest()["data"]["files"])


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the rows that are tokenised."""
    seen: list[int] = []
    encode = TextClassification.encode

    def noted(self: Any, rows: Any) -> Any:
        seen.append(len(rows))
        return encode(self, rows)

    monkeypatch.setattr(TextClassification, "encode", noted)
    return seen


@pytest.mark.parametrize("tag", [BERT, T5, GPT])
def test_prepared_rows_are_the_same_to_the_byte_and_so_is_what_is_said_of_them(
    tag: str, tmp_path: Path, place: Path
) -> None:
    plain, _ = prepared(compose(tag, tmp_path / "plain", "data.cache=false"))
    assert not place.exists()
    for name in ("first", "second"):
        run, _ = prepared(compose(tag, tmp_path / name))
        assert files(run) == files(plain)
    assert len(list(place.iterdir())) == 2


def test_a_second_run_tokenises_a_first_piece_and_the_test_rows_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = counted(monkeypatch)
    run, _ = prepared(compose(BERT, tmp_path / "first"))
    whole = sum(seen)
    seen.clear()
    prepared(compose(BERT, tmp_path / "second"))
    rows = {name: len(splits.read(run, name)) for name in splits.SPLITS}
    assert whole == sum(rows.values())
    first = sum(min(10, rows[name]) for name in ("train", "validation"))
    assert sum(seen) == first + rows["test"] < whole


def key(task: Any, rows: Any) -> str | None:
    return tokens.key_of(task, Dataset.from_list(rows))


def test_other_rows_tokens_or_options_are_another_entry(tmp_path: Path) -> None:
    config = compose(BERT, tmp_path)
    task = config.task
    task.load_processor(base_model.resolve(config).folder)
    rows = [{"id": "a", "text": "one"}, {"id": "b", "text": "two"}]
    before = key(task, rows)
    assert before is not None
    task.processor(["one"], truncation=True, max_length=3, padding=True)
    assert key(task, rows) == before
    assert key(task, [rows[0], {"id": "b", "text": "twoo"}]) != before
    task.labels = ["b", "a"]
    assert key(task, rows) != before
    task.labels = []
    task.max_length = 5
    assert key(task, rows) != before
    task.max_length = None
    task.processor.add_tokens(["twoo"])
    assert key(task, rows) != before


def test_rows_are_known_by_what_they_hold_not_by_how_they_lie() -> None:
    rows = [{"text": f"t{n}", "label": None if n % 2 else "x"} for n in range(9)]
    whole = Dataset.from_list(rows)
    part = Dataset.from_list([*rows, *rows]).select(range(9))
    assert tokens.content(whole) == tokens.content(part)
    assert tokens.content(whole) != tokens.content(whole.select(range(8, -1, -1)))


def test_a_tokenizer_that_does_not_tell_itself_keeps_nothing() -> None:
    task: Any = type("Task", (), {"processor": object()})()
    assert key(task, [{"text": "x"}]) is None


@pytest.mark.parametrize("fault", ["damaged", "other code"])
def test_what_is_not_what_is_made_now_is_made_anew(
    fault: str, tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared(compose(BERT, tmp_path / "first"))
    if fault == "damaged":
        for file in place.glob(f"*/{tokens.FILE}"):
            content = bytearray(file.read_bytes())
            content[-40] ^= 1
            file.write_bytes(content)
    else:
        encode = TextClassification.encode

        def other(self: Any, rows: Any) -> Any:
            return [{**item, "input_ids": item["input_ids"][::-1]} for item in encode(self, rows)]

        monkeypatch.setattr(TextClassification, "encode", other)
    for name in ("second", "third"):
        plain, _ = prepared(compose(BERT, tmp_path / f"plain {name}", "data.cache=false"))
        run, _ = prepared(compose(BERT, tmp_path / name))
        assert files(run) == files(plain)


@pytest.mark.parametrize("limit", ["no room", "no folder", "few rows"])
def test_a_run_is_prepared_all_the_same_where_nothing_can_be_kept(
    limit: str, tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if limit == "no room":
        monkeypatch.setattr(keeping, "budget", lambda _: 10)
    elif limit == "few rows":
        monkeypatch.setattr(tokens, "LEAST", 1000)
    else:
        place.parent.mkdir()
        place.write_text("no folder")
    run, _ = prepared(compose(BERT, tmp_path / "run"))
    assert splits.encoded_file(run, "train").is_file()
    assert not place.is_dir() or not list(place.iterdir())
