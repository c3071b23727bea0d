"""What happened while training: told in full where anything did, in one sentence else."""

from __future__ import annotations

import json

import pytest

from finetune.reports import card, facts, occurrences, report

from . import folders

CONDITIONS = {"world_size": 1, "device": "cpu", "precision": "fp32", "threads": 2,
              "versions": {"torch": "2.13.0"}}  # fmt: skip
NOW = "2026-03-14T09:26:53+00:00"
QUIET = "Training ran through in one attempt: no step was left out, memory sufficed, "
KILLED = {"started_at": "2026-03-14T09:00:00+00:00", **CONDITIONS}
STOPPED = {
    **KILLED, "resumed_from": "step-8",
    "ended": {"at": NOW, "code": 143, "why": "Stopped by SIGTERM after step 18, which is saved."},
}  # fmt: skip
FULL = {
    **KILLED, "resumed_from": "step-18",
    "ended": {"at": NOW, "code": 6, "why": "`case/checkpoints` cannot be written."},
}  # fmt: skip
LAST = {**KILLED, "resumed_from": "step-24"}


def run_of(folder, *attempts, events=(), train=None, spikes=3.0, finished=True, **manifest):
    """Return the folder of a run with these attempts and events."""
    folders.classification(folder)
    file = folder / "manifest.json"
    known = json.loads(file.read_text())
    known["stages"]["train"] |= train or {}
    known["stages"]["evaluate"] |= {"finished_at": NOW} if finished else {}
    file.write_text(json.dumps(known | {"attempts": list(attempts)} | manifest))
    if events:
        (folder / "logs" / "events.jsonl").write_text("\n".join(map(json.dumps, events)) + "\n")
    config = folder / "config.yaml"
    config.write_text(config.read_text() + f"\ntrain: {{loss_spike_factor: {spikes}}}\n")
    return folder


def shown(*args, **more):
    """Return the section of such a run."""
    return occurrences.section(facts.read(run_of(*args, **more)))


def test_a_quiet_run_is_one_sentence_in_report_and_card(tmp_path):
    folder = run_of(tmp_path / "run", KILLED)
    found = occurrences.section(facts.read(folder))
    assert found["said"] == QUIET + "and no loss stood out."
    assert [found[key] for key in ("attempts", "events", "changes", "conditions")] == [[]] * 4
    html = report.render(facts.read(folder))
    assert '<h2 id="course-title">What happened while training</h2>' in html
    assert "How it ended" not in html
    assert f"- **Course:** {QUIET}and no loss stood out." in card.model_card(folder)


def test_nothing_is_claimed_of_losses_that_nobody_looked_at(tmp_path):
    assert shown(tmp_path / "run", KILLED, spikes="null")["said"] == (
        "Training ran through in one attempt: no step was left out, and memory sufficed."
    )


def test_each_attempt_says_where_it_began_and_why_it_ended(tmp_path):
    found = shown(tmp_path / "run", KILLED, STOPPED, FULL, LAST)
    assert found["said"].startswith(
        "The run took 4 attempts; training went on from steps 8, 18 and 24. No step was left out"
    )
    assert [(each["start"], each["how"], each["tone"]) for each in found["attempts"]] == [
        ("the beginning", occurrences.NO_WORD, "bad"),
        ("step 8", "Stopped by SIGTERM after step 18, which is saved.", "neutral"),
        ("step 18", "`case/checkpoints` cannot be written.", "bad"),
        ("step 24", "It finished.", ""),
    ]
    assert found["conditions"] == []


def test_the_last_attempt_of_an_unfinished_run_is_not_called_finished(tmp_path):
    found = shown(tmp_path / "run", KILLED, finished=False)
    assert [each["how"] for each in found["attempts"]] == [occurrences.RUNNING]
    ended = {**KILLED, "ended": {"code": 5, "why": "Memory ran out at step 3."}}
    found = shown(tmp_path / "other", ended, finished=False)
    assert [each["how"] for each in found["attempts"]] == ["Memory ran out at step 3."]


def test_an_attempt_after_training_does_not_seem_to_have_trained_anew(tmp_path):
    later = {**CONDITIONS, "started_at": "2026-03-14T10:00:00+00:00"}
    found = shown(tmp_path / "run", KILLED, later, train={"finished_at": NOW})
    assert [each["start"] for each in found["attempts"]] == ["the beginning", "the trained model"]


def test_other_conditions_are_told_where_training_went_on_under_them(tmp_path):
    changed = {**LAST, "threads": 4}
    (said,) = shown(tmp_path / "run", KILLED, changed)["conditions"]
    assert "Attempt 2" in said
    assert "threads 2 → 4" in said
    fresh = {**KILLED, "threads": 4}  # nothing had been trained that it could be unlike to
    assert shown(tmp_path / "other", KILLED, fresh)["conditions"] == []


def test_events_are_told_by_step_with_their_rows(tmp_path):
    events = [
        {"step": 30, "event": "loss_spike", "loss": 5.0, "usual": 1.25, "rows": ["m.csv:3"]},
        {"step": 4, "event": "out_of_memory", "micro_batch_size": 8, "before": 15},
        {"step": 5, "event": "out_of_memory", "micro_batch_size": 4},
        {"step": 9, "event": "not_finite", "rows": ["m.csv:7", "m.csv:9"]},
        {"step": 11, "event": "something_new"},
    ]
    train = {"skipped_steps": [2, 6, 7], "nonfinite_steps": [9]}
    found = shown(tmp_path / "run", KILLED, events=events, train=train)
    assert [(each["step"], each["rows"]) for each in found["events"]] == [
        ("2, 6 and 7", []), ("4", []), ("5", []), ("9", ["m.csv:7", "m.csv:9"]), ("11", []),
        ("30", ["m.csv:3"]),
    ]  # fmt: skip
    texts = [each["text"] for each in found["events"]]
    assert "cut from 15 to 8 rows" in texts[1]
    assert "cut from 8 to 4 rows" in texts[2]
    assert "it was 5.000, where 1.250 was usual" in texts[5]
    assert texts[4] == "Something new"
    for word in ("4 steps left the model as it was.", "Memory ran out", "The loss stood out"):
        assert word in found["said"]
    assert "No step was left out" not in found["said"]


def test_many_events_are_counted_and_not_listed(tmp_path):
    events = [{"step": step, "event": "not_finite", "rows": []} for step in range(1, 31)]
    found = shown(tmp_path / "run", KILLED, events=events)
    assert (len(found["events"]), found["more"]) == (occurrences.MOST_EVENTS, 10)
    assert "30 steps left the model as it was." in found["said"]


def test_changes_with_permission_are_listed_without_secrets(tmp_path):
    changes = [
        {"key": "train.learning_rate", "old": 0.001, "new": 2e-4},
        {"key": "data.path", "old": None, "new": "https://me:hunter2hunter2@x.org/a.csv"},
    ]
    found = shown(tmp_path / "run", KILLED, LAST, allowed_changes=changes)
    assert found["changes"][0] == ("train.learning_rate", "0.001", "0.0002")
    assert found["changes"][1][:2] == ("data.path", "–")
    assert "hunter2" not in str(found)
    assert "2 changes of settings or data had permission." in found["said"]


def test_a_run_that_knows_of_no_attempt_has_no_section(tmp_path):
    folder = folders.classification(tmp_path / "run")
    assert occurrences.section(facts.read(folder)) is None
    assert "What happened while training" not in report.render(facts.read(folder))


@pytest.mark.parametrize(
    ("attempts", "events"),
    [
        (["x", None, {"resumed_from": 3, "ended": "late"}, {"ended": {"code": [], "why": {}}}], []),
        ([KILLED], [{"step": "x"}, {"step": 3}, {"step": 4, "event": ["a"], "rows": {"b": 1}}]),
        ([KILLED], [{"step": 1, "event": "out_of_memory", "micro_batch_size": "<b>"}]),
    ],
)
def test_odd_entries_are_shown_or_left_out_but_never_fail(tmp_path, attempts, events):
    folder = run_of(tmp_path / "run", *attempts, events=events, allowed_changes=[3, {"old": {}}])
    html = report.render(facts.read(folder))
    assert "cannot be shown" not in html
    assert "<b>" not in html.partition("course-title")[2].partition("</section>")[0]


def test_lines_that_are_no_json_are_counted(tmp_path):
    folder = run_of(tmp_path / "run", KILLED, events=[{"step": 1, "event": "loss_spike"}])
    with (folder / "logs" / "events.jsonl").open("a") as file:
        file.write("{cut")
    assert any("1 of 2 lines of `logs/events.jsonl`" in said for said in facts.read(folder).missing)
