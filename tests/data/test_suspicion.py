"""Suspected labels: searched for over all splits, only training rows are ever dropped for them."""

from finetune.data.kinds import Label, Text
from finetune.data.prepare import prepare

KINDS = {"text": Text(), "label": Label()}
TOPICS = {"bill": "invoice amount charge", "ship": "parcel courier delivery"}


def rows(count=120, flipped=(7, 50)):
    made = []
    for number in range(count):
        label = ("bill", "ship")[number % 2]
        text = f"my {TOPICS[label]} number {number} is late"
        other = ("ship", "bill")[number % 2]
        made.append({"text": text, "label": other if number in flipped else label})
    return made


def suspected(action, given=None, **more):
    clean = {"label_errors": {"action": action}}
    return prepare(kinds=KINDS, rows=given or rows(), clean=clean, **more)


def test_flipped_labels_are_ranked_first_with_what_they_should_be():
    found = suspected("report").audit["suspected_label_errors"]
    assert {one["id"] for one in found[:2]} == {"rows:8", "rows:51"}
    assert {one["suggested"] for one in found if one["id"] == "rows:8"} == {"ship"}


def test_only_training_rows_are_dropped_for_it():
    given = {"train": rows(), "test": rows(40, flipped=(3,))}
    prepared = suspected("drop", given)
    assert len(prepared.splits["test"]) == 40
    assert "test:4" in {one["id"] for one in prepared.audit["suspected_label_errors"]}
    gone = {one["id"] for one in prepared.quarantine}
    assert gone >= {"train:8", "train:51"}
    assert not gone & {"test:4"}


def test_nobody_looks_where_it_is_skipped_or_nothing_is_labelled():
    assert suspected("skip").audit["suspected_label_errors"] == []
    unlabelled = prepare(
        kinds={"text": Text()},
        rows=[{"text": f"t {n}"} for n in range(20)],
        clean={"label_errors": {"action": "report"}},
    )
    assert unlabelled.audit["suspected_label_errors"] == []


def test_the_order_of_rows_changes_nothing():
    def texts(prepared):
        wanted = {one["id"] for one in prepared.audit["suspected_label_errors"]}
        rows_ = [row for part in prepared.splits.values() for row in part.to_list()]
        return {row["text"] for row in rows_ if row["id"] in wanted}

    assert texts(suspected("report")) == texts(suspected("report", rows()[::-1]))
