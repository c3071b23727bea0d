"""The guess at an encoding, on the pairs that are mistaken for each other."""

import io

import pytest

from finetune.data import guessing
from finetune.data.guessing import Guess, guess


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("café,b", "cp1252"),
        ("Der Käufer möchte die Größe ändern", "cp1252"),
        ("El niño comió mañana", "cp1252"),
        ("Žluťoučký kůň úpěl ďábelské ódy", "cp1250"),
        ("Zażółć gęślą jaźń", "cp1250"),
        ("Καλημέρα κόσμε τι κάνεις", "cp1253"),
        ("Şişli'de çığlık attı, güneş doğdu", "cp1254"),
        ("مرحبا كيف حالك اليوم", "cp1256"),
        ("这是一个中文句子。", "gb18030"),
        ("這是一個中文句子。", "big5"),
        ("한국어 문장입니다.", "euc_kr"),
    ],
)
def test_the_code_page_is_found(text, encoding):
    content = (text + "\n") * 20
    found = guess(io.BytesIO(content.encode(encoding))).encoding
    assert found is not None
    assert content.encode(encoding).decode(found) == content


def test_what_is_mostly_utf8_is_not_called_anything_else():
    content = "Käufer\n".encode() * 3 + "Käufer\n".encode("cp1252")
    assert guess(io.BytesIO(content)) == Guess(None, mixed=True)


def test_a_long_line_of_utf8_is_utf8_wherever_it_is_cut(monkeypatch):
    for size in range(5, 12):
        monkeypatch.setattr(guessing, "_PIECE_BYTES", size)
        assert guess(io.BytesIO("aé€日本語😀".encode() * 20)) == Guess("utf-8")
