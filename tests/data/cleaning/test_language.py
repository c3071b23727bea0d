import csv

import pytest

from finetune.data.cleaning.language import Language
from finetune.errors import DataError

ENGLISH = Language(action="drop", keep=["en"])


def test_sure_foreign_texts_are_found_under_their_code():
    assert ENGLISH.check(
        "Wo ist meine Überweisung geblieben, die ich gestern gemacht habe?"
    ).counts == {"de": 1}
    assert ENGLISH.check("Where is the transfer that I made yesterday?") is None
    both = Language(action="report", keep=["en", "de"])
    assert both.check("Wo ist meine Überweisung geblieben, die ich gestern gemacht habe?") is None


def test_short_and_doubtful_texts_are_kept():
    assert ENGLISH.check("Wo ist sie?") is None
    assert ENGLISH.check("12345 67890 12345 67890") is None
    assert Language(action="drop", keep=["en"], min_confidence=1.0).check("Hola amigo " * 3) is None
    assert ENGLISH.check("\ud800" * 30) is None


def test_what_to_keep_must_be_known():
    with pytest.raises(DataError, match="`english`"):
        Language(action="drop", keep=["english"])
    with pytest.raises(DataError, match="is empty"):
        Language(action="report")
    assert Language().action == "skip"


def test_rates_on_real_texts(shared):
    def column(name, key):
        with (shared("translation_xquad") / name).open(encoding="utf-8", newline="") as file:
            return [row[key] for row in csv.DictReader(file)]

    english = column("test.en-de.csv", "source")
    german, spanish = column("test.en-de.csv", "target"), column("test.en-es.csv", "target")
    with (shared("text_cls_banking77") / "test.csv").open(encoding="utf-8", newline="") as file:
        english += [row["text"] for row in csv.DictReader(file)]
    wrong = sum(ENGLISH.check(text) is not None for text in english)
    rates = [
        sum(ENGLISH.check(text) is not None for text in texts) / len(texts)
        for texts in (german, spanish)
    ]
    assert wrong <= len(english) * 0.002
    assert rates[0] > 0.92
    assert rates[1] > 0.75
