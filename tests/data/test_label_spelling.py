"""Spellings of labels: what is taken for one label, and what is left alone."""

import csv
import json
import random
from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.data.label_spelling import Proposal, apply, proposals


def pairs(counts):
    return {item.label: item.suggested for item in proposals(counts)}


@pytest.mark.parametrize(
    ("variant", "reason"),
    [
        ("Card Arrival", "case"),
        ("CARD ARRIVAL", "case"),
        ("card  arrival ", "blanks"),
        ("card\u00a0arrival", "unicode form"),
        ("card\u200b arrival", "blanks"),
        ("card_arrival", "punctuation"),
        ("card-arrival", "punctuation"),
        ("cardArrival", "punctuation"),
        ("card arrival.", "punctuation"),
        ("ｃａｒｄ arrival", "unicode form"),
        ("card arival", "near spelling"),
        ("card arrvial", "near spelling"),
        ("Card arrivall", "near spelling"),
    ],
)
def test_a_variant_is_proposed_with_its_reason(variant, reason):
    found = proposals({"card arrival": 100, variant: 3, "lost phone": 50})
    assert found == [Proposal(variant, "card arrival", 3, reason)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("cat", "car"),
        ("label_1", "label_2"),
        ("class_10", "class_11"),
        ("class_1", "class_10"),
        ("positive", "negative"),
        ("exchange_rate", "exchange_rates"),
        ("typical", "atypical"),
        ("hypertension", "hypotension"),
        ("increase_limit", "decrease_limit"),
        ("internal", "external"),
        ("1", "-1"),
        ("1.5", "15"),
        ("2020-01", "202001"),
        ("A", "A-"),
        ("B+", "B"),
        ("c++", "c"),
        ("c#", "c"),
        ("<=50K", ">50K"),
        ("German", "Germany"),
        ("Nigeria", "Niger"),
        ("12345", "12346"),
        ("1_0", "10"),
        ("☺", "☹"),
        ("", "-"),
    ],
)
def test_two_classes_stay_two(one, other):
    assert pairs({one: 500, other: 2}) == {}
    assert pairs({one: 2, other: 500}) == {}


def test_a_frequent_neighbour_is_a_class_of_its_own():
    assert pairs({"statue photo": 40, "statute photo": 30}) == {}


def test_a_word_that_other_labels_use_is_no_typo():
    assert pairs({"order chart": 100, "order chair": 5, "broken chair": 80}) == {}


def test_the_most_frequent_spelling_wins_and_a_tie_has_one_answer():
    assert pairs({"Spam": 5, "SPAM": 9, "spam": 2}) == {"Spam": "SPAM", "spam": "SPAM"}
    assert pairs({"Spam": 4, "spam": 4}) == pairs({"spam": 4, "Spam": 4}) == {"spam": "Spam"}


def test_a_chain_ends_at_a_label_that_stays():
    found = pairs({"insurance": 1000, "insurence": 100, "insurrence": 5, "Insurance": 3})
    assert set(found.values()) == {"insurance"}


def test_handwritten_letters_keep_their_case():
    letters = dict.fromkeys("ABCDEFGHIJKLMNOPabcdefghijklmnop", 50)
    assert pairs(letters) == {}
    assert pairs({"M": 50, "m": 9, "F": 40}) == {"m": "M"}


@given(st.dictionaries(st.text(max_size=12), st.integers(1, 1000), max_size=12))
def test_any_labels_have_proposals_that_point_at_what_stays(counts):
    found = pairs(counts)
    assert not set(found) & set(found.values())
    assert set(found) | set(found.values()) <= set(counts)
    assert found == pairs(dict(reversed(list(counts.items()))))


def test_applied_to_strings_lists_and_dictionaries_the_type_stays():
    proposed = proposals({"spam": 9, "Spam": 1})
    names = pa.array(["Spam", None, "ham", "spam"])
    expected = ["spam", None, "ham", "spam"]
    for column in (names, pa.chunked_array([names[:2], names[2:]]), names.dictionary_encode()):
        changed = apply(column, proposed)
        assert changed.type == column.type
        assert changed.to_pylist() == expected
    lists = pa.array([["Spam", "spam", "ham"], None, []])
    assert apply(lists, proposed).to_pylist() == [["spam", "ham"], None, []]
    assert apply(pa.chunked_array([], pa.string()), proposed).to_pylist() == []


def labels_of(shared, name):
    folder = shared(name)
    if name == "text_cls_banking77":
        with (folder / "train.csv").open(encoding="utf-8", newline="") as file:
            return [row["category"] for row in csv.DictReader(file)]
    if name == "text_cls_clinc150_oos":
        with (folder / "train.tsv").open(encoding="utf-8", newline="") as file:
            return [row["intent"] for row in csv.DictReader(file, delimiter="\t")]
    if name == "multilabel_nlupp_banking":
        lines = (folder / "train.jsonl").read_text(encoding="utf-8").splitlines()
        return [label for line in lines for label in json.loads(line)["labels"]]
    if name == "instruct_p3_open":
        lines = (folder / "train.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line)["task"] for line in lines]
    if name == "drift_text_sources":
        with (folder / "messages.csv").open(encoding="utf-8", newline="") as file:
            return [row["platform"] for row in csv.DictReader(file)]
    if name == "ner_wnut17":
        lines = (folder / "train.conll").read_text(encoding="utf-8").splitlines()
        return [line.split()[-1] for line in lines if line.strip()]
    return [path.parent.name for path in (folder / "train").glob("*/*")]


CLEAN = [
    "text_cls_banking77",
    "text_cls_clinc150_oos",
    "multilabel_nlupp_banking",
    "instruct_p3_open",
    "drift_text_sources",
    "ner_wnut17",
    "image_cls_fashion",
]


@pytest.mark.parametrize("name", CLEAN)
def test_real_labels_are_left_alone(shared, name):
    counts = Counter(labels_of(shared, name))
    assert len(counts) > 2
    assert pairs(counts) == {}


def misspelt(label, draw):
    def typo(text):
        places = [
            place
            for place in range(1, len(text) - 1)
            if text[place - 1 : place + 2].isalpha() and text[place] != text[place + 1]
        ]
        if not places:
            return text.upper()
        place = draw.choice(places)
        return draw.choice(
            [
                text[:place] + text[place + 1 :],
                text[:place] + text[place + 1] + text[place] + text[place + 2 :],
                text[:place] + draw.choice("aeiorst") + text[place + 1 :],
            ]
        )

    return draw.choice(
        [str.upper, str.title, lambda text: text.replace("_", " "), lambda text: f" {text}",
         lambda text: text.replace("_", "-"), typo, typo]
    )(label)  # fmt: skip


@pytest.mark.parametrize("name", ["text_cls_banking77", "text_cls_clinc150_oos"])
def test_planted_spellings_of_real_labels_are_found(shared, name):
    draw = random.Random(5)
    counts = Counter(labels_of(shared, name))
    truth = {}
    for label in sorted(counts):
        for _ in range(2):
            variant = misspelt(label, draw)
            if variant not in counts and counts[label] >= 10:
                truth[variant] = label
    planted = counts + Counter(dict.fromkeys(truth, 1))
    found = pairs(planted)
    right = sum(truth.get(label) == suggested for label, suggested in found.items())
    assert right / len(found) >= 0.99
    assert right / len(truth) >= 0.85
