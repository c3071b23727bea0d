"""What is there more than once: counted before it is dropped, together in one split, said."""

import pytest

from finetune.data.kinds import Label, Text
from finetune.data.prepare import SplitOptions, prepare
from finetune.errors import DataError

KINDS = {"text": Text(), "label": Label()}
NEAR = {"near_duplicates": {"action": "report", "threshold": 0.7}}
DROP = {"near_duplicates": {"action": "drop", "threshold": 0.7}}
TOPICS = ["balance", "payment", "transfer", "card", "limit", "address", "invoice", "refund"]
STATES = ["missing", "wrong", "pending", "negative", "double"]
REASONS = ["update", "upgrade", "merger", "migration", "outage", "release", "holiday"]
SENTENCES = [
    f"the {TOPICS[n % 8]} of my account went {STATES[n % 5]} after the {REASONS[n % 7]} of {n}"
    for n in range(30)
]


def rows(texts, label="x"):
    return [
        {"text": text, "label": label if index % 2 else "y"} for index, text in enumerate(texts)
    ]


def varied(text):
    return f"Please: {text.replace('account', 'acount')}!"


def test_near_duplicates_across_given_splits_are_counted_with_ids_and_refused_if_asked():
    given = {"train": rows(SENTENCES), "test": rows([varied(text) for text in SENTENCES[:4]])}
    prepared = prepare(kinds=KINDS, rows=given, clean=NEAR)
    leakage = prepared.audit["leakage"]
    assert leakage["near_rows"]["test"] == 4
    assert leakage["near"] >= 4
    assert any("test:1" in pair for pair in leakage["near_pairs"])
    assert any("nearly in another split" in text for text in prepared.audit["messages"])
    with pytest.raises(DataError, match="nearly in another split"):
        prepare(kinds=KINDS, rows=given, clean=NEAR, leakage="error")


def test_dropping_near_duplicates_takes_them_out_of_train_and_keeps_what_they_held():
    given = {"train": rows(SENTENCES), "test": rows([varied(text) for text in SENTENCES[:4]])}
    prepared = prepare(kinds=KINDS, rows=given, clean=DROP, leakage="error")
    assert len(prepared.splits["test"]) == 4
    assert prepared.audit["leakage"]["near"] >= 4  # what the user's splits shared stays a finding
    dropped = [entry for entry in prepared.quarantine if entry["step"] == "near_duplicates"]
    assert {entry["before"]["text"] for entry in dropped} >= set(SENTENCES[:4])
    assert prepared.audit["rows"]["read"] == prepared.audit["rows"]["kept"] + len(dropped)


@pytest.mark.parametrize("seed", range(5))
def test_near_duplicates_are_not_torn_apart_by_our_own_cut(seed):
    texts = [*SENTENCES, *[varied(text) for text in SENTENCES]]
    prepared = prepare(kinds=KINDS, rows=rows(texts), clean=NEAR, split=SplitOptions(seed=seed))
    assert prepared.audit["duplicates"]["near"] >= len(SENTENCES)
    assert prepared.audit["leakage"]["near"] == 0


def test_they_may_be_torn_apart_when_that_is_asked_for_and_then_it_is_said():
    texts = [*SENTENCES, *[varied(text) for text in SENTENCES]]
    options = SplitOptions(near_duplicates=False)
    prepared = prepare(kinds=KINDS, rows=rows(texts), clean=NEAR, split=options)
    assert prepared.audit["leakage"]["near"] > 0


def test_fillings_of_one_template_do_not_all_go_to_one_split():
    texts = [f"please send order number {n} to the usual address in the city" for n in range(200)]
    prepared = prepare(kinds=KINDS, rows=rows(texts), clean=NEAR)
    assert min(len(part) for part in prepared.splits.values()) >= 20
    if prepared.audit["duplicates"]["near"]:
        assert any("template" in text for text in prepared.audit["messages"])


def test_without_a_look_nothing_is_claimed_of_near_duplicates():
    prepared = prepare(kinds=KINDS, rows=rows(SENTENCES))
    assert prepared.audit["duplicates"]["near"] is None
    assert prepared.audit["leakage"]["near"] is None
    assert not [name for name in prepared.splits["train"].column_names if name.startswith("__")]


def test_two_questions_on_one_long_context_are_not_near():
    context = " ".join(SENTENCES)
    kinds = {"question": Text(), "context": Text()}
    asked = [{"question": f"{text}?", "context": context} for text in SENTENCES]
    prepared = prepare(kinds=kinds, rows=asked, clean=NEAR)
    alone = prepare(kinds={"question": Text()}, rows=asked, clean=NEAR)
    assert prepared.audit["duplicates"]["near"] == alone.audit["duplicates"]["near"]
