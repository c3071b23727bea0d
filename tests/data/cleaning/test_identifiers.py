import time

import pytest

from finetune.data.cleaning.identifiers import spans

KINDS = ("email", "iban", "card", "ip", "phone")


def found(text, region=None):
    return [(kind, text[start:end]) for start, end, kind in spans(text, KINDS, region)]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("email", "jo.smith+news@mail.example.co.uk"),
        ("email", "müller@uni-köln.de"),
        ("iban", "DE89 3704 0044 0532 0130 00"),
        ("iban", "GB29NWBK60161331926819"),
        ("iban", "nl91abna0417164300"),
        ("iban", "BE68 5390 0754 7034"),
        ("card", "4111 1111 1111 1111"),
        ("card", "378282246310005"),
        ("card", "5555-5555-5555-4444"),
        ("ip", "203.0.113.9"),
        ("ip", "192.168.1.17"),
        ("ip", "2001:0db8:85a3::8a2e:0370:7334"),
        ("phone", "+49 (0)30 901820"),
        ("phone", "+1 (212) 736-5000"),
        ("phone", "0033142685300"),
        ("phone", "+81 3-3224-9999"),
    ],
)
def test_each_kind_is_found_to_the_character_wherever_it_stands(kind, value):
    for frame in ("{}", "write to {}.", "({})", "first {}\nand {}", "it is {}, thanks", "data={}"):
        text = frame.format(value, value)
        assert found(text) == [(kind, value)] * frame.count("{}"), frame


@pytest.mark.parametrize(
    "text",
    [
        "version 1.2.3.4",
        "v10.0.19041.1",
        "see section 1.1.1.1",
        "Chrome/91.0.4.124",
        "pip install x==1.2.3.4",
        "mask 255.255.255.0 on 127.0.0.1",
        "at 12:30:45",
        "std::vector a::b dead::beef::",
        "aa:bb:cc:dd:ee:ff",
        "order 1234567890123456",
        "card 4111 1111 1111 1112",
        "1.4111111111111111",
        "14111111111111111111",
        "0000 0000 0000 0000",
        "sha 4111111111111111ab",
        "DE89 3704 0044 0532 0130 01",
        "AB12 CDEF 1234 5678",
        "logo@2x.png",
        "@handle and a@b",
        "git@github.com:org/repo.git",
        "10 @ 5.50",
        "2020-01-02 08:00:00",
        "+1 and +2",
        "score +3000000",
        "1,234,567,890",
        "ISBN 978-3-16-148410-0",
        "uuid 550e8400-e29b-41d4-a716-446655440000",
        "pi 3.14159265358979",
        "00000000001",
    ],
)
def test_what_only_looks_like_it_is_left_alone(text):
    assert found(text) == []


def test_a_region_finds_numbers_without_a_prefix():
    text = "call 020 7946 0958 now"
    assert found(text) == []
    assert found(text, "GB") == [("phone", "020 7946 0958")]


def test_a_number_is_one_thing_only():
    text = "pay 4111 1111 1111 1111 or DE89 3704 0044 0532 0130 00, jo@203.0.113.9.example.org"
    assert [kind for kind, _ in found(text, "US")] == ["card", "iban", "email"]
    assert found("+4915112345678@example.org") == [("email", "+4915112345678@example.org")]


@pytest.mark.parametrize("piece", ["a@", "a.", "1 ", "1.", "1-", "DE12 ", ":1", "+1", "00", "a@a."])
def test_a_text_made_to_be_slow_is_not(piece):
    start = time.process_time()
    found(piece * 5000, "US")
    assert time.process_time() - start < 10
