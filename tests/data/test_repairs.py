"""Cleaning within prepare: repaired, counted, and what was is kept, but for what was masked."""

from finetune.data.kinds import Answers, Label, Messages, Text
from finetune.data.prepare import prepare

KINDS = {"text": Text(), "label": Label()}
PLAIN = [{"text": f"a message about topic {n}", "label": "ab"[n % 2]} for n in range(30)]


def cleaned(text, **steps):
    clean = {name: {"action": action} for name, action in steps.items()}
    return prepare(kinds=KINDS, rows=[*PLAIN, {"text": text, "label": "a"}], clean=clean)


def texts(prepared):
    return [text for part in prepared.splits.values() for text in part["text"]]


def test_mojibake_is_put_right_counted_and_kept():
    prepared = cleaned("das cafÃ© schlieÃŸt", encoding="repair")
    assert "das café schließt" in texts(prepared)
    assert prepared.audit["encoding_repairs"] == 1
    (entry,) = prepared.quarantine
    assert (entry["step"], entry["before"]) == ("encoding", "das cafÃ© schlieÃŸt")


def test_what_is_only_reported_stays_as_it_is():
    prepared = cleaned("see <b>here</b> &amp; there", html="report")
    assert "see <b>here</b> &amp; there" in texts(prepared)
    (step,) = [step for step in prepared.audit["steps"] if step["name"] == "html"]
    assert sum(step["found"].values()) > 0
    assert prepared.quarantine == []
    assert any("data.clean.html.action" in text for text in prepared.audit["messages"])


def test_masked_personal_data_lies_in_no_other_file():
    prepared = cleaned("write to jane.doe@example.com now", personal_data="repair")
    assert "write to [EMAIL] now" in texts(prepared)
    assert prepared.audit["personal_data"] == {"email": 1}
    assert "jane" not in str(prepared.quarantine)
    assert prepared.quarantine[0]["id"] == "rows:31"


def test_a_row_that_is_dropped_is_kept_whole():
    prepared = cleaned("N/A", markers="drop")
    (entry,) = prepared.quarantine
    assert {"text": "N/A", "label": "a"}.items() <= entry["before"].items()
    assert prepared.audit["rows"] == {"read": 31, "kept": 30, "dropped": 1}


def test_conversations_are_cleaned_turn_by_turn():
    rows = [
        {"messages": [{"role": "user", "content": f"cafÃ© {n}"},
                      {"role": "assistant", "content": "yes"}]}
        for n in range(20)
    ]  # fmt: skip
    prepared = prepare(
        kinds={"messages": Messages()}, rows=rows, clean={"encoding": {"action": "repair"}}
    )
    assert prepared.audit["encoding_repairs"] == 20
    assert prepared.splits["train"][0]["messages"][0]["content"].startswith("café")


def test_cells_of_columns_in_use_are_looked_at_also_inside_templates():
    rows = [
        {"title": f"t{n}", "size": f"{n % 9 + 1}.0", "body": "x", "label": "ab"[n % 2]}
        for n in range(60)
    ]
    rows[7]["size"] = "3.0 oz"
    prepared = prepare(
        kinds=KINDS,
        rows=rows,
        columns={"text": "{title} {size} {body}"},
        clean={"cells": {"action": "report"}},
    )
    found = {entry["column"]: entry["found"] for entry in prepared.audit["cells"]}
    assert (found["size"], found["body"]) == ({"unit": 1}, {})
    assert any("`size` (1 unit)" in text for text in prepared.audit["messages"])


def test_what_another_step_keeps_of_a_masked_text_is_masked_too():
    prepared = cleaned("cafÃ©: jane.doe@example.com", encoding="repair", personal_data="repair")
    assert "café: [EMAIL]" in texts(prepared)
    assert "jane" not in str(prepared.quarantine)
    assert len(prepared.quarantine) == 2


def test_a_text_that_answers_point_into_is_not_changed():
    kinds = {"question": Text(), "context": Text(), "answers": Answers()}
    rows = [
        {
            "question": f"who\u200b came {n}?",
            "context": f"\ufeff{n} Anna\ufeff came",
            "answers": {"text": ["Anna"], "answer_start": [f"\ufeff{n} Anna".index("Anna")]},
        }
        for n in range(20)
    ]
    prepared = prepare(kinds=kinds, rows=rows, clean={"control": {"action": "repair"}})
    for part in prepared.splits.values():
        for row in part:
            start = row["answers"]["answer_start"][0]
            assert row["context"][start : start + 4] == "Anna"
