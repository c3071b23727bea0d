"""Spellings of a label are proposed; they are applied only when that is asked for."""

import pyarrow as pa

from finetune.data.kinds import Label, Labels, Text
from finetune.data.label_names import settle_spellings
from finetune.data.problems import Problems
from finetune.data.work import Work


def work(labels, kind=None):
    table = pa.table(
        {
            "id": [f"a:{i}" for i in range(len(labels))],
            "text": ["t"] * len(labels),
            "label": labels,
        }
    )
    kinds = {"text": Text(), "label": kind or Label()}
    return Work({"": table}, kinds, Problems(), [], sources={"text": "text", "label": "label"})


SPELT = [*["Billing"] * 8, "billing ", "BILLING", *["refund"] * 5]


def test_by_default_spellings_are_only_proposed():
    made = work(SPELT)
    settle_spellings(made, {"action": "report"})
    assert made.tables[""]["label"].to_pylist() == SPELT
    found = {one["label"]: one["suggested"] for one in made.audit["label_spellings"]}
    assert found == {"billing ": "Billing", "BILLING": "Billing"}
    assert "data.clean.label_spelling.action=repair" in made.messages[0]


def test_renaming_keeps_what_was():
    made = work(SPELT)
    settle_spellings(made, {"action": "repair"})
    assert made.tables[""]["label"].to_pylist() == ["Billing"] * 10 + ["refund"] * 5
    assert [(one["id"], one["before"]) for one in made.problems.quarantine] == [
        ("a:8", "billing "),
        ("a:9", "BILLING"),
    ]
    assert made.steps[-1]["changed"] == 2


def test_lists_of_labels_are_renamed_too():
    made = work([["Card", "pin"], *[["card"]] * 5], Labels())
    settle_spellings(made, {"action": "repair"})
    assert made.tables[""]["label"].to_pylist()[0] == ["card", "pin"]


def test_nobody_looks_where_it_is_skipped_or_there_are_no_labels():
    made = work(SPELT)
    settle_spellings(made, {"action": "skip"})
    assert made.audit["label_spellings"] == []
