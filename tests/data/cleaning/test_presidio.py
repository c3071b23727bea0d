import re
import sys
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from finetune.data.cleaning import presidio
from finetune.data.cleaning.personal_data import PersonalData
from finetune.errors import DataError


@dataclass
class Result:
    entity_type: str
    start: int
    end: int
    score: float


class Engine:
    """What Presidio's analyser is to us: results with a type, a place and a score."""

    def analyze(self, *, text, language, entities):
        assert language == "en"
        found = [("PERSON", r"Ann\w*|PERSON|EMAIL", 0.85), ("EMAIL_ADDRESS", r"\S+@\S+", 1.0)]
        return [
            Result(kind, match.start(), match.end(), score)
            for kind, pattern, score in found
            if kind in entities
            for match in re.finditer(pattern, text)
        ]


@pytest.fixture
def engine(monkeypatch):
    presidio.analyzer.cache_clear()
    module = SimpleNamespace(AnalyzerEngine=Engine)
    monkeypatch.setitem(sys.modules, "presidio_analyzer", module)
    yield
    presidio.analyzer.cache_clear()


@pytest.mark.usefixtures("engine")
def test_names_are_masked_once_and_the_surer_finding_wins():
    step = PersonalData(action="repair", engine="presidio")
    finding = step.check("Ann wrote from Anna@ex.org")
    assert finding.repaired == "[PERSON] wrote from [EMAIL]"
    assert finding.counts == {"person": 1, "email": 1}
    assert step.check(finding.repaired) is None


@pytest.mark.usefixtures("engine")
def test_only_the_kinds_that_are_asked_for_and_names_are_looked_for():
    step = PersonalData(engine="presidio", kinds=["phone"])
    assert set(step.check("Ann and x@ex.org").counts) == {"person"}


@pytest.mark.parametrize("failure", [OSError, SystemExit])
def test_a_missing_language_model_is_explained(monkeypatch, failure):
    def make():
        raise failure

    presidio.analyzer.cache_clear()
    module = SimpleNamespace(AnalyzerEngine=make)
    monkeypatch.setitem(sys.modules, "presidio_analyzer", module)
    with pytest.raises(DataError, match="spaCy model") as caught:
        presidio.analyzer()
    assert "personal_data.engine=builtin" in caught.value.fix
