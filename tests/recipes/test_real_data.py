"""Every real data set beside the project goes through `prepare` with overrides only."""

from __future__ import annotations

from pathlib import Path

import pytest

from finetune import cli
from finetune.runs import storage

DATA = Path(__file__).parents[2].parent / "shared" / "data"
NEEDS = {
    "messy_sms_spam": ("data.path={}", "data.encoding=cp1252", "data.columns.text=v2",
                       "data.columns.label=v1"),
    "messy_table_beers": ("data.path={}/dirty.csv",),
    "messy_table_hospital": ("data.path={}/dirty.csv",),
    "qa_xquad": ("data.train={}/train-en.json", "data.test={}/dev-en.json"),
    "translation_xquad": ("data.train={}/train.en-de.csv", "data.test={}/test.en-de.csv"),
}  # fmt: skip
"""Overrides of the folders that hold more than one data set, or say too little of themselves."""
SHAPES = {
    "asr_fsdd": "transcription",
    "drift_text_sources": "table",
    "image_cls_fashion": "image_classification",
    "image_cls_sign_digits": "image_classification",
    "image_text_fxemoji": "image_text",
    "instruct_gsm8k": "conversation",
    "instruct_p3_open": "conversation",
    "instruct_seed_tasks": "conversation",
    "messy_sms_spam": "classification",
    "messy_table_beers": "table",
    "messy_table_hospital": "table",
    "multilabel_nlupp_banking": "multi_label",
    "ner_wnut17": "token_classification",
    "preference_pandalm": "preference",
    "qa_xquad": "question_answering",
    "summarization_scitldr": "text2text",
    "text_cls_banking77": "classification",
    "text_cls_clinc150_oos": "classification",
    "translation_xquad": "text2text",
}
"""What each folder is recognised as."""


def test_every_folder_is_listed():
    if not DATA.is_dir():
        pytest.skip("the real data sets are not beside the project")
    assert {folder.name for folder in DATA.iterdir() if folder.is_dir()} == set(SHAPES)


@pytest.mark.parametrize("name", SHAPES)
def test_a_real_data_set_is_prepared_with_overrides_only(name, tmp_path, capsys):
    folder = DATA / name
    if not folder.is_dir():
        pytest.skip(f"the real data set {name} is not beside the project")
    given = [text.format(folder) for text in NEEDS.get(name, ("data.path={}",))]
    # The label model is tried in tests of its own, and takes the longest.
    code = cli.call(
        ["prepare", "recipe=data", *given, f"run.dir={tmp_path}", "name=x",
         "data.clean.label_errors.action=skip"]
    )  # fmt: skip
    said = capsys.readouterr().err
    assert code == 0, said
    assert f"task.shape={SHAPES[name]}" in said
    audit = storage.read_json(tmp_path / "x" / "data" / "audit.json")
    assert sum(audit["splits"].values()) == audit["rows"]["kept"] > 0
    assert min(audit["splits"].values()) > 0
    assert (tmp_path / "x" / "report.html").stat().st_size > 5_000
