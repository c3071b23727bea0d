"""Every metric and every score that a report shows is explained in a plain sentence."""

from __future__ import annotations

import pytest

from finetune import metrics
from finetune.reports import glossary, names, report

from . import folders

FAMILIES = [folders.classification, folders.text2text, folders.chat, folders.image_text,
            folders.speech]  # fmt: skip


@pytest.mark.parametrize("name", metrics.names())
def test_every_metric_is_explained_without_formulas(name):
    said = glossary.metric(name)
    assert 20 < len(said) <= 90
    assert said.endswith(".")
    for word in ("exp of", "log-likelihood", "beta", "sacrebleu", "reciprocal", "queries"):
        assert word not in said


def test_a_stranger_is_not_explained():
    assert glossary.metric("squad_v2") == ""
    assert glossary.score("a-new-task") == ""


@pytest.mark.parametrize("make", FAMILIES)
def test_the_page_explains_its_metrics_and_its_scores(make, tmp_path):
    folder = make(tmp_path / "run")
    text = report.build(folder, examples=3).read_text()
    shown = [name for name in metrics.names() if f">{names.metric(name)}" in text]
    assert shown
    assert text.count('class="gloss"') >= len(shown)
    assert "The score is" in text
