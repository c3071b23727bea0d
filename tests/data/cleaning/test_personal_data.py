import sys

import pyarrow as pa
import pytest

from finetune.data.cleaning.personal_data import KINDS, PersonalData
from finetune.errors import DataError


def test_each_kind_has_its_mask_and_is_counted():
    text = (
        "jo@ex.org, +49 30 901820, 4111111111111111, DE89370400440532013000, 10.20.30.40; jo@ex.org"
    )
    finding = PersonalData().check(text)
    assert finding.repaired == "[EMAIL], [PHONE], [CARD], [IBAN], [IP]; [EMAIL]"
    assert finding.counts == {"email": 2, "phone": 1, "card": 1, "iban": 1, "ip": 1}
    assert PersonalData().check(finding.repaired) is None


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_is_asked_for_is_looked_for(kind):
    text = "jo@ex.org, +49 30 901820, 4111111111111111, DE89370400440532013000, 10.20.30.40"
    assert set(PersonalData(kinds=[kind]).check(text).counts) == {kind}


def test_ordinary_texts_are_not_looked_at():
    texts = ["Where is my card?", "room 12, 5 o'clock", "call 555-2671 88", "a@b"]
    assert PersonalData().candidates(pa.array(texts)).tolist() == [False, False, True, True]


def test_unknown_kinds_and_regions_are_refused():
    with pytest.raises(DataError, match=r"`emial`, did you mean `email`"):
        PersonalData(kinds=["emial"])
    with pytest.raises(DataError, match="region=Germany"):
        PersonalData(region="Germany")


def test_presidio_is_asked_for_before_any_row_is_read(monkeypatch):
    from finetune.data.cleaning import presidio

    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    presidio.analyzer.cache_clear()
    with pytest.raises(DataError, match=r"pip install finetune\[pii\]"):
        PersonalData(engine="presidio")
    assert PersonalData(action="skip", engine="presidio").action == "skip"
