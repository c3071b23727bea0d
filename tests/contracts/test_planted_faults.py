"""Faults planted into real messages: each detector finds at least the stated share of them.

The rates are printed with `pytest -s`; docs/data.md quotes them.
"""

from __future__ import annotations

import csv
import random
import sys
from pathlib import Path

import pytest

from finetune.config import clean_schema
from finetune.data.kinds import Label, Text
from finetune.data.prepare import prepare

BANKING = Path(__file__).parents[2].parent / "shared" / "data" / "text_cls_banking77"
KINDS = {"text": Text(), "label": Label()}
SEED = 20261121


def defaults():
    from dataclasses import asdict

    return asdict(clean_schema.CleanConfig())


def read(name, count):
    with (BANKING / name).open(encoding="utf-8", newline="") as file:
        rows = [{"text": row["text"], "label": row["category"]} for row in csv.DictReader(file)]
    chosen = sorted({row["label"] for row in rows})[:30]
    rows = [row for row in rows if row["label"] in chosen]
    return random.Random(SEED).sample(rows, min(count, len(rows)))


def changed(text, chance):
    """Return a text with one small change, as people make them when they copy."""
    words = text.split(" ")
    kind = chance.randrange(5)
    if kind == 0:
        return text.upper()
    if kind == 1:
        return text.rstrip("?.!") + " !!"
    if kind == 2:
        words.insert(chance.randrange(len(words)), "please")
    elif kind == 3:
        place = chance.randrange(1, len(text) - 1)
        return text[:place] + chance.choice("aeiou") + text[place + 1 :]
    else:
        return "  ".join(words)
    return " ".join(words)


@pytest.fixture(scope="module")
def found():
    if not BANKING.is_dir():
        pytest.skip("the real data set text_cls_banking77 is not beside the project")
    chance = random.Random(SEED)
    train, test = read("train.csv", 1500), read("test.csv", 300)
    long = [row for row in train if len(row["text"]) >= 40]
    exact, near = chance.sample(train, 20), chance.sample(long, 60)
    test += [dict(row) for row in exact]
    test += [{**row, "text": changed(row["text"], chance)} for row in near]
    labels = sorted({row["label"] for row in train})
    flipped = set(chance.sample(range(len(train)), len(train) // 20))
    for place in flipped:
        train[place]["label"] = chance.choice(
            [name for name in labels if name != train[place]["label"]]
        )
    spelt = [place for place in range(len(train)) if place not in flipped]
    variants = chance.sample(spelt, 30)
    for place in variants:
        label = train[place]["label"]
        train[place]["label"] = chance.choice(
            [label.upper(), f" {label}", label.replace("_", " "), label.replace("_", "-")]
        )
    broken = chance.sample(spelt, 40)
    for place in broken:
        text = train[place]["text"] + chance.choice([" – café", " “naïve” £20", " Zürich für 5 €"])
        # Windows-1252 has no character for five bytes; Python leaves them as they are.
        train[place]["text"] = "".join(
            bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in text.encode()
        )
    private = chance.sample([place for place in spelt if place not in broken], 40)
    kinds = [
        " mail me: jo.smith{n}@example.org",
        " call +44 20 7946 0{n:03}",
        " card 4111 1111 1111 1111",
        " iban DE89 3704 0044 0532 0130 00",
        " from 192.168.4.{n}",
    ]
    for number, place in enumerate(private):
        train[place]["text"] += kinds[number % 5].format(n=100 + number)
    prepared = prepare(
        kinds=KINDS, rows={"train": train, "test": test}, clean=_repairing(defaults())
    )
    return prepared, train, flipped, variants, broken, private


def _repairing(clean):
    clean["label_spelling"]["action"] = "repair"  # or a test label in one spelling stays unseen
    return clean


def rate(name, hits, planted):
    sys.stdout.write(f"{name}: {hits} of {planted} = {hits / planted:.2f}\n")
    return hits / planted


def test_exact_copies_across_splits_are_all_found(found):
    audit = found[0].audit
    rows = {second for _, second in audit["leakage"]["pairs"]}
    assert audit["leakage"]["exact"] >= 20
    assert rate("exact copies", len(rows & {f"test:{n}" for n in range(301, 321)}), 20) == 1


def test_near_copies_across_splits_are_found(found):
    touched = found[0].audit["leakage"]["near_rows"]["test"]
    assert rate("near copies", min(touched, 60), 60) >= 0.9


def test_flipped_labels_are_found(found):
    prepared, _, flipped, *_ = found
    suspects = [one["id"] for one in prepared.audit["suspected_label_errors"]]
    planted = {f"train:{place + 1}" for place in flipped}
    assert rate("flipped labels, recall", len(planted & set(suspects)), len(planted)) >= 0.75
    top = suspects[: len(planted)]
    assert rate("flipped labels, precision at k", len(planted & set(top)), len(planted)) >= 0.7


def test_mixed_spellings_of_labels_are_proposed(found):
    prepared, train, _, variants, *_ = found
    proposed = {one["label"] for one in prepared.audit["label_spellings"]}
    hits = sum(train[place]["label"] in proposed for place in variants)
    assert rate("label spellings", hits, len(variants)) >= 0.95
    clean = {row["label"] for n, row in enumerate(train) if n not in variants}
    assert not proposed & clean


def test_mojibake_is_put_right(found):
    prepared, _, _, _, broken, _ = found
    repaired = {one["id"] for one in prepared.quarantine if one["step"] == "encoding"}
    planted = {f"train:{place + 1}" for place in broken}
    assert rate("mojibake, recall", len(planted & repaired), len(planted)) >= 0.95
    assert rate("mojibake, precision", len(planted & repaired), max(1, len(repaired))) >= 0.95


def test_personal_data_are_found_by_kind(found):
    counts = found[0].audit["personal_data"]
    assert rate("personal data", sum(min(counts.get(kind, 0), 8) for kind in
                ("email", "phone", "card", "iban", "ip")), 40) >= 0.9  # fmt: skip
    assert sum(counts.values()) <= 42
