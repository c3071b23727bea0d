"""A run folder is read strictly, and what is missing is said rather than guessed."""

from __future__ import annotations

import pytest

from finetune.errors import ArtefactError
from finetune.reports import facts
from finetune.reports.facts import read, strict_json

from . import folders


@pytest.mark.parametrize("text", ['{"a": NaN}', '{"a": Infinity}', "{", "[" * 100_000])
def test_what_is_no_json_is_refused(text):
    with pytest.raises(ValueError, match=r"JSON|nested|Expecting"):
        strict_json(text)


@pytest.mark.parametrize("name", ["config.yaml", "manifest.json"])
def test_a_folder_without_its_core_is_no_run_folder(name, tmp_path):
    folder = folders.classification(tmp_path / "run")
    (folder / name).unlink()
    with pytest.raises(ArtefactError, match=f"`{name}`") as caught:
        read(folder)
    assert caught.value.exit_code == 4
    assert caught.value.fix


@pytest.mark.parametrize(
    ("name", "words"),
    [("data/audit.json", "prepare"), ("logs/metrics.jsonl", "train"),
     ("eval/metrics.json", "evaluate")],
)  # fmt: skip
def test_a_missing_part_is_named_with_the_stage_that_writes_it(name, words, tmp_path):
    folder = folders.classification(tmp_path / "run")
    (folder / name).unlink()
    (said,) = read(folder).missing
    assert name in said
    assert words in said


def test_a_complete_folder_misses_nothing(tmp_path):
    assert read(folders.classification(tmp_path / "run")).missing == []


def test_figures_that_are_not_finite_are_refused_and_said(tmp_path):
    folder = folders.classification(tmp_path / "run")
    (folder / "eval/metrics.json").write_text('{"test": {"accuracy": {"value": NaN}}}')
    facts = read(folder)
    assert facts.metrics == {}
    assert "`NaN` is no JSON number" in facts.missing[0]


def test_a_torn_last_line_of_the_log_costs_that_line_only(tmp_path):
    folder = folders.classification(tmp_path / "run")
    path = folder / "logs/metrics.jsonl"
    lines = len(path.read_text().splitlines())
    path.write_text(path.read_text() + '{"step": 205, "lo')
    facts = read(folder)
    assert len(facts.log) == lines
    assert f"1 of {lines + 1} lines" in facts.missing[0]


def test_records_and_ids_are_read_from_lists_of_them_alone():
    assert facts.records([{"a": 1}, 3, None]) == [{"a": 1}]
    assert facts.records({"a": 1}) == facts.records(None) == []
    assert facts.identities(["a:1", 7, None, ["x"]]) == ["a:1", "7"]
    assert facts.identities("abc") == []


@pytest.mark.parametrize("trace", ["logs/metrics.jsonl", "eval/metrics.json", "error.json", None])
def test_a_run_with_any_trace_of_a_model_is_more_than_its_data(trace, tmp_path):
    (tmp_path / "config.yaml").write_text("name: x\n")
    folders.write(tmp_path / "manifest.json", {"stages": {"prepare": {}}})
    folders.write(tmp_path / "data/audit.json", {"rows": {"read": 1}})
    if trace:
        folders.write(tmp_path / trace, {})
    assert facts.read(tmp_path).prepared_only is (trace is None)
