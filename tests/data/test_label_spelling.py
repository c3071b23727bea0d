"""One name in several spellings is proposed as one; what only looks alike stays apart."""

import csv
import random
from collections import Counter, defaultdict

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.data.label_spelling import apply, proposals

APART = [
    ("cat", "car"), ("label_1", "label_2"), ("class_10", "class_11"), ("1", "1.0"), ("-1", "1"),
    ("level -1", "level 1"), ("10", "1.0"), ("m2", "m²"), ("positive", "negative"),
    ("card", "cards"), ("import", "export"), ("internal", "external"), ("increase", "decrease"),
    ("hypertension", "hypotension"), ("employer", "employee"), ("Slovakia", "Slovenia"),
    ("Zambia", "Gambia"), ("Ireland", "Iceland"), ("active", "inactive"), ("A", "A-"),
    ("A", "A+"), ("AB-", "AB+"), ("c", "c++"), ("c", "c#"), (".net", "net"), ("?", "!"),
    ("no_table", "not_able"), ("他们", "她们"), ("😀", "😃"), ("crisis", "crises"),
    ("house", "mouse"), ("payer", "payee"), ("analysis", "analyses"),
]  # fmt: skip


def labels_of(shared, name):
    folder, file, column, separator = {
        "banking77": ("text_cls_banking77", "train.csv", "category", ","),
        "clinc150": ("text_cls_clinc150_oos", "train.tsv", "intent", "\t"),
    }[name]
    with (shared(folder) / file).open(encoding="utf-8-sig", newline="") as lines:
        return [row[column] for row in csv.DictReader(lines, delimiter=separator)]


def respelt(label, draw):
    words = label.split("_")
    ways = [label.upper(), label.title(), " ".join(words), "-".join(words), f" {label}",
            f"{label} ", f"{label}."]  # fmt: skip
    return draw.choice([way for way in ways if way != label])


def mistyped(label, draw):
    if len(label) < 6:
        return label
    at = draw.randrange(1, len(label) - 1)
    ways = [label[:at] + label[at + 1 :], label[: at + 1] + label[at:],
            label[:at] + label[at + 1] + label[at] + label[at + 2 :]]  # fmt: skip
    return draw.choice(ways)


@pytest.mark.parametrize("name", ["banking77", "clinc150"])
@pytest.mark.parametrize(
    ("change", "share", "least"), [(respelt, 0.1, 0.99), (mistyped, 0.02, 0.4)]
)
def test_planted_spellings_of_real_labels_are_found_and_no_other(
    shared, name, change, share, least
):
    draw, real = random.Random(1), labels_of(shared, name)
    planted, written = defaultdict(set), []
    for label in real:
        new = change(label, draw) if draw.random() < share else label
        if new in set(real):
            new = label
        if new != label:
            planted[new].add(label)
        written.append(new)
    found = proposals(Counter(written))
    assert all(one.suggested in planted.get(one.label, ()) for one in found)
    assert len(found) >= least * len(planted)


@pytest.mark.parametrize("name", ["banking77", "clinc150"])
def test_labels_that_are_in_order_are_left_alone(shared, name):
    assert proposals(Counter(labels_of(shared, name))) == []


@pytest.mark.parametrize("pair", APART, ids="/".join)
@pytest.mark.parametrize("counts", [(500, 1), (1, 500), (50, 50)])
def test_names_that_only_look_alike_stay_apart(pair, counts):
    assert proposals(dict(zip(pair, counts, strict=True))) == []


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        ("BILLING", "case"),
        ("billing ", "blanks"),
        ("billing.", "punctuation"),
        ("biling", "near spelling"),
    ],
)
def test_the_most_frequent_spelling_wins_and_the_difference_is_named(label, reason):
    (one,) = proposals({"billing": 40, label: 2})
    assert (one.label, one.suggested, one.rows, one.reason) == (label, "billing", 2, reason)


@given(st.dictionaries(st.text(max_size=6), st.integers(1, 50), max_size=12))
@settings(max_examples=60, deadline=None)
def test_no_suggestion_is_itself_replaced_and_order_changes_nothing(counts):
    found = proposals(counts)
    assert not {one.suggested for one in found} & {one.label for one in found}
    assert {one.label for one in found} <= set(counts)
    assert proposals(dict(reversed(counts.items()))) == found


def test_proposals_are_applied_to_labels_and_to_lists_of_them():
    proposed = proposals({"billing": 40, "Billing": 2})
    plain = pa.chunked_array([pa.array(["Billing", "refund", None])])
    assert apply(plain, proposed).to_pylist() == ["billing", "refund", None]
    lists = pa.array([["Billing", "pin"], [], None])
    assert apply(lists, proposed).to_pylist() == [["billing", "pin"], [], None]
    assert apply(plain, []).to_pylist() == plain.to_pylist()
