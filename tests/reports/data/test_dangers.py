"""Dangers: each stands on page one while it lasts, with the ids of the first rows."""

from __future__ import annotations

import pytest

from finetune.reports.data.dangers import dangers, undecided

from . import audits


@pytest.mark.parametrize(
    ("audit", "words"),
    [
        ({"leakage": {"exact": 1, "pairs": [["a:1", "b:2"]]}}, "1 identical pair of rows stand"),
        ({"leakage": {"exact": 3, "pairs": [["a:1", "b:2"]]}}, "such as a:1 = b:2"),
        ({"leakage": {"near": 2, "near_pairs": [["c:1", "d:2"]]}}, "such as c:1 = d:2"),
        ({"label_conflicts": 1}, "1 row has the same input"),
        ({"tokens": {"truncated_rows": 1, "tokens_lost": 1, "limit": 9}},
         "1 row was cut to 9 tokens, 1 token lost"),
        ({"tokens": {"untrainable_rows": 2}}, "2 rows had nothing left"),
        ({"personal_data": {"email": 4}}, "not masked: 4 × e-mail address"),
        ({"tokens": {"audio_seconds": {"beyond_30": 2}}}, "2 recordings are longer than 30 s"),
        ({"tokens": {"audio_seconds": {"beyond_30": 9, "unheard_rows": 2, "window": 12}}},
         "2 recordings are longer than 12 s, the window of the encoder: sound beyond"),
        ({"recordings": {"beyond_30": 1}}, "1 recording is longer than 30 s"),
        ({"classes": {"a": 50}, "suspected_label_errors": [{"id": "x"}]}, "1 label (2.0"),
    ],
)  # fmt: skip
def test_each_danger_is_said_with_its_figures(audit, words):
    (said,) = dangers(audit)
    assert words in said


@pytest.mark.parametrize("kind", ["exact", "near"])
def test_leakage_that_was_removed_is_no_danger(kind):
    step = {"name": f"{kind}_duplicates", "rows_in": 5, "rows_out": 4}
    assert dangers({"leakage": {kind: 3}}) != []
    assert dangers({"leakage": {kind: 3}, "steps": [step]}) == []


def test_long_recordings_that_were_dropped_are_no_danger():
    assert dangers({"tokens": {"audio_seconds": {"beyond_30": 3, "unheard_rows": 0}}}) == []


def test_personal_data_that_were_masked_are_no_danger():
    step = {"name": "personal_data", "rows_in": 5, "rows_out": 5, "changed": 4}
    assert dangers({"personal_data": {"email": 4}, "steps": [step]}) == []


def test_a_few_suspects_among_many_labels_are_no_danger():
    assert dangers({"classes": {"a": 101}, "suspected_label_errors": [{"id": "x"}]}) == []


def test_all_dangers_of_one_audit_are_listed_the_gravest_first():
    said = dangers(audits.full())
    assert said[0].startswith("Leakage: 9 nearly identical pairs")
    assert len(said) == 7


def test_the_share_of_suspects_is_that_of_the_rows_that_were_judged():
    audit = {"classes": {"a": 9000}, "suspected_label_errors": [{"id": "x"}]}
    assert dangers(audit) == []
    (said,) = dangers(audit | {"label_error_search": {"rows": 9000, "examined": 50}})
    assert "(2.0" in said


def test_suspects_that_were_removed_are_no_danger():
    audit = {"classes": {"a": 50}, "suspected_label_errors": [{"id": "x"}]}
    step = {"name": "label_errors", "rows_in": 50, "rows_out": 49}
    assert dangers(audit) != []
    assert dangers(audit | {"steps": [step]}) == []


@pytest.mark.parametrize(("suspects", "said"), [(12, 1), (25, 1), (26, 0), (73, 0)])
def test_more_suspects_than_errors_can_explain_are_no_headline(suspects, said):
    audit = {"label_error_search": {"examined": 100}}
    audit["suspected_label_errors"] = [{"id": str(row)} for row in range(suspects)]
    assert len(dangers(audit)) == said
    assert undecided(audit) == (0 if said else suspects)
