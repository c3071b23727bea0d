"""The data section of the page: every key shown, none needed, none able to harm or to leak."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from finetune.reports import report
from tests.reports import folders
from tests.reports.test_report import assert_harmless

from . import audits

PAYLOAD = "<script>alert(1)</script><img src=//evil.example onerror=alert(1)>\u202e\x00"


def data_run(folder: Path, audit: Any) -> Path:
    """A run that prepared data and nothing else."""
    folders.classification(folder)
    shutil.rmtree(folder / "eval")
    shutil.rmtree(folder / "logs")
    manifest = {"name": "mail", "task": "data", "stages": {"prepare": {"seconds": 2}}}
    folders.write(folder / "manifest.json", manifest)
    folders.write(folder / "data/audit.json", audit)
    return folder


def test_every_key_of_the_audit_is_shown(tmp_path):
    text = report.build(data_run(tmp_path / "run", audits.full())).read_text()
    assert_harmless(text)
    for words in (
        "Data report", "<title>mail: data report</title>",
        "garbled characters", "188 rows removed", "unicode forms",  # steps
        "tokens in a row", "limit 40", "190 tokens", "45.1",  # lengths
        "58.3 times", "a.csv:51", "a.csv:60", "a.csv:70", "a.csv:71",  # balance, repeats
        "6 rows have the same input", "Differs in", "a.csv:900", "cleanlab",  # labels
        "bank account (IBAN)", "unit beside the number", "follows from city",  # cells
        "28 to 640 pixels", "1 h 01 min", "8000 Hz", "Rows that the model proposed",
    ):  # fmt: skip
        assert words in text, words


def test_a_data_report_does_not_miss_a_model(tmp_path):
    text = report.build(data_run(tmp_path / "run", audits.full())).read_text()
    for words in ("What is missing", "evaluated", "baseline", "Verdict", "Model and strategy"):
        assert words not in text


def test_a_run_that_trained_is_no_data_report_even_without_its_metrics(tmp_path):
    folder = folders.classification(tmp_path / "run")
    shutil.rmtree(folder / "eval")
    shutil.rmtree(folder / "logs")
    text = report.build(folder).read_text()
    assert "Fine-tuning report" in text
    assert "What is missing" in text


def test_leakage_stands_on_page_one_of_a_training_report_too(tmp_path):
    folder = folders.classification(tmp_path / "run")
    folders.write(folder / "data/audit.json", audits.full())
    text = report.build(folder).read_text()
    assert "a.csv:70 = a.csv:71" in text[: text.index('id="metrics"')]


@pytest.mark.parametrize("key", sorted(audits.full()))
@pytest.mark.parametrize("value", ["gone", 7, {"x": "y"}, [3, None, {}, [1], "x"]])
def test_a_key_that_is_absent_or_strange_costs_its_own_part(key, value, tmp_path):
    audit = audits.full()
    if value == "gone":
        del audit[key]
    else:
        audit[key] = value
    text = report.build(data_run(tmp_path / "run", audit)).read_text()
    assert_harmless(text)
    assert 'id="configuration"' in text
    assert key == "splits" or "Splits" in text
    assert key == "tokens" or "tokens in a row" in text
    assert key == "cells" or "Columns and their cells" in text


def test_a_part_of_another_type_is_named_as_missing(tmp_path):
    audit = audits.full() | {"steps": 5, "cells": {"a": 1}}
    text = report.build(data_run(tmp_path / "run", audit)).read_text()
    assert "The steps cannot be shown" in text
    assert "The cells cannot be shown" in text


def hostile(value: Any) -> Any:
    """Put markup wherever a text can stand, keys but those that we name among them."""
    if isinstance(value, dict):
        return {key: hostile(inner) for key, inner in value.items()} | {PAYLOAD: 3}
    if isinstance(value, list):
        return [hostile(inner) for inner in value]
    return value if isinstance(value, int | float) else f"{PAYLOAD}{value}"


def test_no_id_label_or_column_can_become_markup(tmp_path):
    text = report.build(data_run(tmp_path / "run", hostile(audits.full()))).read_text()
    assert_harmless(text)
    assert "&lt;script&gt;" in text


def test_no_cell_and_no_row_is_shown(tmp_path):
    audit = audits.full()
    audit["suspected_label_errors"][0]["text"] = "CanaryText"
    audit["cells"][0]["examples_before"] = ["CanaryCell"]
    audit["duplicates"]["texts"] = ["CanaryText"]
    folder = data_run(tmp_path / "run", audit)
    quarantine = {"id": "a.csv:3", "step": "encoding", "before": "CanaryBefore"}
    (folder / "data/quarantine.jsonl").write_text(json.dumps(quarantine) + "\n")
    assert "Canary" not in report.build(folder).read_text()


def test_the_same_audit_gives_the_same_bytes(tmp_path):
    folder = data_run(tmp_path / "run", audits.full())
    assert report.build(folder).read_bytes() == report.build(folder).read_bytes()


def test_every_table_can_be_scrolled_within_its_own_box(tmp_path):
    text = report.build(data_run(tmp_path / "run", audits.full())).read_text()
    for start in (found.start() for found in re.finditer(r"<table", text)):
        assert 'class="scroll' in text[start - 130 : start]


def test_stacked_tables_name_the_column_of_every_cell(tmp_path):
    css = (Path(report.__file__).parent / "templates/data.css").read_text()
    assert "attr(data-label)" in css
    text = report.build(folders.classification(tmp_path / "run")).read_text()
    table = text[text.index('<table class="stack">\n<caption class="hidden">All metrics') :]
    # A sentence across all columns belongs to none.
    cells = re.findall(r"<td(?! colspan)[^>]*>", table[: table.index("</table>")])
    assert cells
    assert ".gloss td::before { content: none; }" in css
    assert all("data-label=" in cell for cell in cells)
