import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.data.cleaning.encoding import Encoding

STEP = Encoding()


def garbled(text, encoding="cp1252"):
    return text.encode().decode(encoding)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("MÃ¼nchen", "München"),
        ("itâ€™s", "it’s"),
        ("ÃƒÂ¼ber", "über"),
        (garbled("Łódź", "latin-1"), "Łódź"),
        (garbled("привет"[:3], "latin-1"), "при"),
        ("a fine line\nand cafÃ©\nжар", "a fine line\nand café\nжар"),
        ("only å£5, thatåÕs all", "only £5, that’s all"),
        ("4txt/Ì¼1.20", "4txt/ú1.20"),
    ],
)
def test_mojibake_is_put_right(wrong, right):
    finding = STEP.check(wrong)
    assert finding.counts == {"mojibake": 1}
    assert finding.repaired == right


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "",
        "Café",
        "Ålesund på ski",
        "5 £ and 3 €",
        "naïve façade",
        "Ünïcödé",
        "東京タワー",
        "“quoted” — dash…",
        "¿Qué?",
        "à la carte",
        "ÃO PAULO",
        "Ângela",
        "🙂 ok",
        "x² ± 1 °C",
        "l’été «oui»",
    ],
)
def test_rightly_decoded_text_is_left_alone(text):
    assert STEP.check(text) is None


def test_lost_characters_are_counted_and_stay():
    finding = STEP.check("caf\ufffd")
    assert finding.counts == {"lost_character": 1}
    assert finding.repaired is None


@settings(deadline=None)
@given(st.text(st.sampled_from("äöüßéèñçàô’“”–€ abcdefgh"), min_size=3, max_size=40))
def test_one_repair_is_enough(text):
    try:
        wrong = garbled(text)
    except UnicodeDecodeError:
        return
    finding = STEP.check(wrong)
    if finding is not None and finding.repaired is not None:
        again = STEP.check(finding.repaired)
        assert again is None or again.repaired is None


def test_ascii_is_not_looked_at():
    assert STEP.candidates(pa.array(["plain", "é"])).tolist() == [False, True]
