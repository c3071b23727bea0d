import pytest

from finetune.data.cleaning.macintosh import undone


def garbled(text):
    return text.encode().decode("cp1252").encode("mac_roman").decode("cp1252")


@pytest.mark.parametrize("text", ["£", "ú", "’", "é", "Ü", "it’s £5"])
def test_what_went_through_an_old_excel_comes_back(text):
    try:
        wrong = garbled(text)
    except UnicodeError:
        pytest.skip(f"{text!r} has bytes that the way does not pass")
    assert wrong != text
    assert undone(wrong) == text


def test_known_samples_of_the_sms_collection():
    assert undone("å£1.50 thatåÕs ‰ÛÒ fine") == "£1.50 that’s – fine"


@pytest.mark.parametrize(
    "text", ["på båten", "åäö", "Åse", "åt", "Ìa", "100 ‰", "gå …", "blåøyd", "å", "‰Û"]
)
def test_living_languages_are_left_alone(text):
    assert undone(text) == text
