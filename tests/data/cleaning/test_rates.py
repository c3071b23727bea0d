"""How much of each trouble is found, and how much is cried out for nothing, on real texts.

`python -m pytest -q -s tests/data/cleaning/test_rates.py` prints what docs/cleaning.md states.
"""

import csv
import json
import re
import sys

import pytest

from finetune.data.cleaning.base import find
from finetune.data.cleaning.identifiers import spans

KINDS = ("email", "iban", "card", "ip", "phone")
PLANTED = {
    "email": ["jo.smith@example.org", "anna+news@mail.example.co.uk", "o'brien@uni-köln.de"],
    "phone": [
        "+49 30 901820",
        "+49 (0)30 901820",
        "+44 20 7946 0958",
        "+1 415-555-2671",
        "+1 (212) 736-5000",
        "+33 1 42 68 53 00",
        "0049 30 901820",
        "+34 912 345 678",
        "+81 3-3224-9999",
        "+91 98765 43210",
        "+86 138 0013 8000",
        "+61 2 9374 4000",
        "+55 11 2345-6789",
        "+48 22 694 60 00",
    ],
    "card": [
        "4111 1111 1111 1111",
        "5555-5555-5555-4444",
        "378282246310005",
        "6011111111111117",
        "30569309025904",
        "3530111333300000",
        "2223003122003222",
    ],
    "iban": [
        "DE89 3704 0044 0532 0130 00",
        "GB29 NWBK 6016 1331 9268 19",
        "NL91ABNA0417164300",
        "FR14 2004 1010 0505 0001 3M02 606",
        "ES91 2100 0418 4502 0005 1332",
        "CH93 0076 2011 6238 5295 7",
        "NO93 8601 1117 947",
        "PL61 1090 1014 0000 0712 1981 2874",
    ],
    "ip": [
        "192.168.1.17",
        "203.0.113.9",
        "84.17.33.201",
        "2001:db8::1",
        "fe80::1ff:fe23:4567:890a",
    ],
}


def say(*figures):
    sys.stdout.write("\n| " + " | ".join(map(str, figures)) + " |")


def column(path, name, **how):
    with path.open(newline="", **{"encoding": "utf-8", **how}) as file:
        return [row[name] for row in csv.DictReader(file) if row[name]]


@pytest.fixture
def real(shared):
    """Real texts by set; none of them has much wrong with it but those of messages."""
    lines = (shared("instruct_gsm8k") / "train.jsonl").read_text(encoding="utf-8").splitlines()
    papers = shared("summarization_scitldr") / "train.jsonl"
    clinc = shared("text_cls_clinc150_oos") / "train.tsv"
    return {
        "banking77": column(shared("text_cls_banking77") / "train.csv", "text"),
        "clinc150": [
            line.split("\t")[0] for line in clinc.read_text(encoding="utf-8").splitlines()
        ],
        "gsm8k": [text for line in lines for text in json.loads(line).values()],
        "scitldr": [
            str(text)
            for line in papers.read_text(encoding="utf-8").splitlines()
            for text in json.loads(line).values()
        ],
        "xquad": [
            text
            for language in ("de", "es")
            for side in ("source", "target")
            for text in column(shared("translation_xquad") / f"train.en-{language}.csv", side)
        ],
    }


@pytest.fixture
def sms(shared):
    return column(shared("messy_sms_spam") / "spam_part1.csv", "v2", encoding="cp1252")


def test_planted_mojibake_comes_back_to_the_letter(real):
    step = find("encoding")()
    good = [text for text in real["xquad"] if not text.isascii()]
    for name, times in (("cp1252", 1), ("latin-1", 1), ("cp1252", 2)):
        right = total = 0
        for text in good:
            wrong = text
            try:
                for _ in range(times):
                    wrong = wrong.encode().decode(name)
            except UnicodeDecodeError:
                continue
            total += 1
            finding = step.check(wrong)
            right += finding is not None and finding.repaired == text
        say("mojibake", f"{name}, {times}×, planted", total, f"recall {right / total:.4f}")
        assert total > 1000
        assert right / total > 0.99


def test_rightly_decoded_texts_stay_as_they_are(real):
    step = find("encoding")()
    for name, texts in real.items():
        wrong = sum(step.check(text) is not None for text in texts)
        say("mojibake", f"{name}, as it is", len(texts), f"{wrong} found")
        assert wrong == 0, name


def test_the_twice_garbled_messages_are_put_right(sms):
    step = find("encoding")()
    # Not by the rule that repairs: pound signs and apostrophes as the eye finds them.
    pounds = [text for text in sms if re.search(r"å£ ?\d", text)]
    apostrophes = [text for text in sms if re.search(r"\wåÕ\w", text)]
    after = {text: f.repaired for text in sms if (f := step.check(text)) and f.repaired}
    right = sum(
        bool(re.search(r"£ ?\d", after.get(t, ""))) and "å£" not in after[t] for t in pounds
    )
    say("mojibake", "sms, pounds", len(pounds), f"recall {right / len(pounds):.4f}")
    assert right == len(pounds) > 100
    assert all(re.search(r"\w’\w", after.get(text, "")) for text in apostrophes)
    left = sum("Ì_" in after.get(text, text) for text in sms)
    say("mojibake", "sms, `Ì_` for `Ü`, beyond repair", left, "recall 0")
    plain = [text for text in sms if text.isascii()]
    assert not any(step.check(text) for text in plain)


@pytest.mark.parametrize("kind", KINDS)
def test_planted_personal_data_is_found_to_the_character(kind, real):
    carriers = real["banking77"][:100] + real["gsm8k"][:100]
    right = total = predicted = 0
    for number, text in enumerate(carriers):
        value = PLANTED[kind][number % len(PLANTED[kind])]
        words = text.split(" ")
        place = number % (len(words) + 1)
        planted = " ".join([*words[:place], value, *words[place:]])
        start = len(" ".join(words[:place])) + (place > 0)
        found = spans(planted, KINDS, None)
        total += 1
        predicted += len(found)
        right += (start, start + len(value), kind) in found
    precision = right / predicted
    say(kind, "planted", total, f"precision {precision:.3f}, recall {right / total:.3f}")
    assert right / total > 0.93
    assert precision > 0.93


def test_personal_data_is_not_cried_out_for_nothing(real):
    for name, texts in real.items():
        wrong = [kind for text in texts for *_, kind in spans(text, KINDS, None)]
        say("personal data", f"{name}, as it is", len(texts), f"{len(wrong)} found")
        assert len(wrong) <= 2, name
    national = [1 for texts in real.values() for t in texts for _ in spans(t, ["phone"], "US")]
    say("phone", "all of these, region=US", sum(map(len, real.values())), f"{len(national)} found")
    assert len(national) <= 6


def test_british_numbers_in_messages_are_found(sms):
    number = re.compile(r"(?<![\d+])0[789]\d{9}(?!\d)")
    right = total = 0
    for text in sms:
        found = spans(text, ["phone"], "GB")
        for match in number.finditer(text):
            total += 1
            right += any(start <= match.start() and match.end() <= end for start, end, _ in found)
    say("phone", "sms, 11 digits, region=GB", total, f"recall {right / total:.3f}")
    assert total > 200
    assert right / total > 0.95


def test_html_is_found_in_messages_and_nowhere_else(real, sms):
    step = find("html")()
    entity = re.compile(r"&(?:amp|lt|gt|quot|#\d+);")
    gold = [text for text in sms if entity.search(text)]
    found = [text for text in sms if step.check(text)]
    right = sum(text in set(gold) for text in found)
    say(
        "html",
        "sms",
        len(gold),
        f"precision {right / len(found):.3f}, recall {right / len(gold):.3f}",
    )
    assert right == len(gold) == len(found) > 100
    assert not any(entity.search(step.check(text).repaired) for text in gold)
    for name, texts in real.items():
        wrong = sum(step.check(text) is not None for text in texts)
        say("html", f"{name}, as it is", len(texts), f"{wrong} found")
        assert wrong == 0, name


@pytest.mark.parametrize(
    ("folder", "marker"), [("messy_table_hospital", "empty"), ("messy_table_beers", "N/A")]
)
def test_marks_for_nothing_are_found_in_tables(folder, marker, shared):
    step = find("markers")()
    with (shared(folder) / "dirty.csv").open(encoding="utf-8", newline="") as file:
        cells = [cell for row in csv.DictReader(file) for cell in row.values() if cell]
    gold = sum(cell == marker for cell in cells)
    found = [cell for cell in cells if step.check(cell)]
    right = sum(cell == marker for cell in found)
    say("markers", folder, gold, f"precision {right / len(found):.3f}, recall {right / gold:.3f}")
    assert right == gold == len(found)
