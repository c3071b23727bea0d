"""Encodings are found when asked, and a wrong one is answered by the right one."""

import pytest

from finetune.data import encodings
from finetune.data.sources import Reading, read
from finetune.errors import DataError

TEXTS = {
    "cp1252": "Élève français à l’école, où est-ce",
    "cp1250": "Zażółć gęślą jaźń, źrebię",
    "cp1251": "Привет, как дела у вас сегодня",
    "cp932": "これは日本語の文章です",
    "utf-8": "Zwölf Käufer, 日本語",
    "utf-16": "Zwölf Käufer",
}


@pytest.mark.parametrize("encoding", TEXTS)
def test_auto_finds_the_encoding_and_says_so(write, encoding):
    text = TEXTS[encoding]
    path = write("x.csv", "text\n" + f'"{text}"\n' * 20)
    path.write_bytes(path.read_text(encoding="utf-8").encode(encoding))
    reading = Reading(encoding="auto")
    (source,) = read(path, reading).values()
    assert source.table["text"][0].as_py() == text
    said = [message for message in reading.messages if "was read as" in message]
    assert said == (
        []
        if encoding == "utf-8"
        else [f"`x.csv` was read as {encoding}, which its bytes fit best."]
    )


@pytest.mark.parametrize("encoding", ["cp1252", "cp1250", "cp1251", "cp932"])
def test_the_error_proposes_the_encoding_that_fits(write, encoding):
    content = ("text\n" + f'"{TEXTS[encoding]}"\n' * 20).encode(encoding)
    with pytest.raises(DataError, match="is not valid UTF-8") as raised:
        read(write("x.csv", content))
    assert f"data.encoding={encoding}," in raised.value.fix


def test_two_encodings_in_one_file_are_not_mended_by_a_third(write):
    content = b"text\n" + "Käufer\n".encode() * 20 + "Käufer\n".encode("cp1252")
    path = write("x.csv", content)
    with pytest.raises(DataError) as raised:
        read(path)
    assert "two encodings are mixed" in raised.value.fix
    with pytest.raises(DataError, match="No encoding fits"):
        read(path, Reading(encoding="auto"))


def test_utf16_without_its_signature_is_named(write):
    path = write("x.csv", "text\nhello\n".encode("utf-16-le"))
    with pytest.raises(DataError, match="UTF-16") as raised:
        read(path)
    assert "data.encoding=utf-16-le" in raised.value.fix


def test_a_line_without_end_is_not_read_into_memory(write, monkeypatch):
    monkeypatch.setattr(encodings, "MAX_LINE", 1000)
    path = write("x.jsonl", '{"a": 1}\n' + "x" * 2000)
    with pytest.raises(DataError, match=r"Line 2 of `x\.jsonl` is longer than 1,000"):
        read(path)


def test_a_signature_is_no_part_of_the_text(write):
    for name in ("x.jsonl", "x.json"):
        content = b'\xef\xbb\xbf{"a": 1}\n{"a": 2}\n'
        (source,) = read(write(name, content)).values()
        assert source.table.column_names == ["a"]
