import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.data.cleaning.unicode import Unicode


def test_accents_and_letters_become_one_character():
    finding = Unicode().check("e\u0301te\u0301")
    assert finding.counts == {"not_nfc": 1}
    assert finding.repaired == "été"


@pytest.mark.parametrize("form", ["NFC", "NFKC", "NFD", "NFKD"])
@given(text=st.text())
def test_the_result_has_the_form_that_was_asked_for(form, text):
    finding = Unicode(form=form).check(text)
    fixed = text if finding is None else finding.repaired
    assert unicodedata.is_normalized(form, fixed)
    fixed.encode()


def test_only_the_compatible_forms_change_what_is_said():
    assert Unicode().check("x² ½ ﬁ") is None
    assert Unicode(form="NFKC").check("x² ﬁ").repaired == "x2 fi"


def test_code_points_that_are_no_characters_go():
    finding = Unicode().check("a\ufdd0b\ufffe\U0010ffffc")
    assert finding.counts == {"noncharacter": 3}
    assert finding.repaired == "abc"


def test_halves_of_a_character_come_together_and_lone_ones_are_marked():
    assert Unicode().check("\ud83d\ude00").repaired == "😀"
    finding = Unicode().check("a\ud83d")
    assert finding.counts == {"surrogate": 1}
    assert finding.repaired == "a\ufffd"
    assert Unicode().check("\udcffb").repaired == "\ufffdb"
