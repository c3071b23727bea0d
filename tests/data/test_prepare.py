"""From files to splits: what comes out, what is said, and what is refused before training."""

import json
import os
import subprocess
import sys

import pytest

from finetune.data import prepare as preparing
from finetune.data.kinds import Audio, Image, Label, Messages, Text
from finetune.data.prepare import prepare
from finetune.data.split import SplitOptions
from finetune.errors import ConfigError, DataError

TEXT_LABEL = {"text": Text(), "label": Label()}
PAIR = {"source": Text(), "target": Text()}
CHAT = {"messages": Messages()}


def labelled(count, *, start=0, labels=("a", "b")):
    return [
        {"text": f"text {start + i}", "label": labels[i % len(labels)], "who": f"w{i % 7}"}
        for i in range(count)
    ]


def run(rows=None, kinds=None, **options):
    return prepare(kinds=kinds or TEXT_LABEL, rows=rows, **options)


def ids(prepared):
    return {split: set(part["id"]) for split, part in prepared.splits.items()}


def refused(**options) -> DataError:
    with pytest.raises(DataError) as raised:
        run(**options)
    assert raised.value.fix
    return raised.value


# ---------------------------------------------------------------- splits


def test_one_set_of_rows_is_cut_completely_and_without_overlap():
    prepared = run(labelled(100))
    found = ids(prepared)
    assert {split: len(rows) for split, rows in found.items()} == {
        "train": 70,
        "validation": 15,
        "test": 15,
    }
    assert set.union(*found.values()) == {f"rows:{i}" for i in range(1, 101)}
    assert prepared.audit["splits"] == {"train": 70, "validation": 15, "test": 15}


def test_the_order_of_rows_decides_nothing():
    rows = labelled(60)
    texts = [
        {split: sorted(part["text"]) for split, part in run(order).splits.items()}
        for order in (rows, rows[::-1])
    ]
    assert texts[0] == texts[1]


def test_the_seed_decides():
    first, again, other = (
        run(labelled(60), split=SplitOptions(seed=seed)).fingerprints for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_given_splits_are_left_as_they_are():
    rows = {
        "train": labelled(10),
        "validation": labelled(4, start=10),
        "test": labelled(6, start=20),
    }
    prepared = run(rows)
    assert prepared.splits["test"]["text"][:] == [row["text"] for row in rows["test"]]
    assert prepared.audit["splits"] == {"train": 10, "validation": 4, "test": 6}


@pytest.mark.parametrize("lacking", ["validation", "test"])
def test_what_is_not_given_is_cut_from_train_and_said(lacking):
    given = "test" if lacking == "validation" else "validation"
    prepared = run({"train": labelled(85), given: labelled(20, start=100)})
    assert prepared.audit["splits"] == {"train": 70, lacking: 15, given: 20}
    assert (
        f"{lacking.capitalize()} was not given and was cut from train."
        in prepared.audit["messages"]
    )


def test_a_set_without_train_is_refused():
    assert "no training data" in str(refused(rows={"test": labelled(5)}))


def test_too_few_rows_for_three_splits_are_refused():
    assert "nothing is left for" in str(refused(rows=labelled(2, labels=("a",))))


def test_a_share_of_nothing_leaves_an_empty_split():
    prepared = run(labelled(20), split=SplitOptions(0.8, 0.2, 0.0))
    assert prepared.audit["splits"] == {"train": 16, "validation": 4, "test": 0}
    assert prepared.splits["test"].column_names == ["id", "text", "label"]


def test_groups_stay_in_one_split_and_the_group_column_is_not_kept():
    prepared = run(labelled(140), keep=["who"], split=SplitOptions(group_by="who"))
    seen = [set(part["who"]) for part in prepared.splits.values()]
    assert sum(len(groups) for groups in seen) == 7
    assert "__group__" not in prepared.splits["train"].column_names
    unkept = run(labelled(140), split=SplitOptions(group_by="who"))
    assert unkept.splits["train"].column_names == ["id", "text", "label"]


def test_a_label_that_train_lacks_is_refused_with_counts():
    rows = {"train": labelled(10), "test": [*labelled(3, start=50), {"text": "z", "label": "new"}]}
    assert "Test has labels that train does not: `new` (1 row)." in str(refused(rows=rows))


def test_one_class_is_said():
    prepared = run(labelled(20, labels=("only",)))
    assert any("same label" in text for text in prepared.audit["messages"])


def test_drawn_rows_keep_the_shares_of_given_splits_and_never_an_unlearnt_label():
    labels = tuple("abcdefghij")
    rows = {"train": labelled(200, labels=labels), "test": labelled(100, start=500, labels=labels)}
    prepared = run(rows, max_rows=12)
    assert prepared.audit["splits"]["test"] == 4
    assert sum(prepared.audit["splits"].values()) == 12
    assert min(prepared.audit["splits"].values()) > 0
    assert prepared.audit["rows"] == {
        "read": 300,
        "kept": sum(prepared.audit["splits"].values()),
        "dropped": 0,
    }


# ---------------------------------------------------------------- rows in trouble


def test_invalid_rows_are_refused_with_count_and_places_and_no_text():
    rows = [*labelled(20), *({"text": "", "label": "SECRET"} for _ in range(7))]
    error = refused(rows=rows)
    assert error.problems == [
        "`text` is empty in 7 of 27 rows: rows:21, rows:22, rows:23, rows:24, rows:25 and 2 more."
    ]
    assert "data.on_invalid=drop" in error.fix
    assert "SECRET" not in str(error)


def test_invalid_rows_are_set_aside_when_asked():
    rows = [*labelled(20), {"text": None, "label": "a"}, {"text": "x", "label": None}]
    prepared = run(rows, on_invalid="drop")
    assert prepared.audit["rows"] == {"read": 22, "kept": 20, "dropped": 2}
    assert [(entry["id"], entry["column"], entry["reason"]) for entry in prepared.quarantine] == [
        ("rows:21", "text", "is missing"),
        ("rows:22", "label", "is missing"),
    ]
    assert {"name": "values", "rows_in": 22, "rows_out": 20} in prepared.audit["steps"]
    assert (
        "Dropped: `text` is missing in 1 of 22 rows: rows:21 (data/quarantine.jsonl)."
        in prepared.audit["messages"]
    )


def test_of_many_reasons_for_which_rows_are_left_out_the_first_are_said(monkeypatch):
    monkeypatch.setattr(preparing, "REASONS_SHOWN", 1)
    rows = [*labelled(20), {"text": None, "label": "a"}, {"text": "x", "label": None}]
    said = [m for m in run(rows, on_invalid="drop").audit["messages"] if m.startswith("Dropped")]
    assert len(said) == 2
    assert said[1] == "Dropped for 1 other reason too: data/quarantine.jsonl."


def test_a_lone_surrogate_is_named_for_what_it_is():
    assert "lone surrogates" in str(refused(rows=[*labelled(5), {"text": "\ud800", "label": "a"}]))


def test_mixed_labels_are_refused_even_when_dropping():
    rows = [*labelled(5), {"text": "x", "label": 3}]
    assert "several types" in str(refused(rows=rows, on_invalid="drop"))


def test_unreadable_pictures_follow_the_policy(write, png):
    for index in range(12):
        path = write(f"set/{'ab'[index % 2]}/{index}.png", png((index, 0, 0)))
    write("set/a/broken.png", b"nothing")
    kinds = {"image": Image(), "label": Label()}
    error = refused(kinds=kinds, path=path.parents[1])
    assert "`image` is not a JPEG, PNG or WebP picture in 1 of 13 rows: a/broken.png." in str(error)
    prepared = run(kinds=kinds, path=path.parents[1], on_invalid="drop")
    assert prepared.audit["rows"]["kept"] == 12
    assert prepared.quarantine[0]["id"] == "a/broken.png"
    assert prepared.splits["train"][0]["image"]["bytes"].startswith(b"\x89PNG")


def test_a_file_name_may_not_leave_the_folder_even_when_dropping(write, png):
    write("secret.png", png())
    path = write("set/metadata.csv", "file_name,label\n../secret.png,a\n")
    kinds = {"image": Image(), "label": Label()}
    assert "leads out" in str(
        refused(kinds=kinds, path=path, on_invalid="drop", columns={"image": "file_name"})
    )


def test_when_nothing_is_left_it_is_said():
    assert "No row can be used" in str(
        refused(rows=[{"text": "", "label": "a"}] * 3, on_invalid="drop")
    )


# ---------------------------------------------------------------- between rows


def test_equal_rows_never_end_up_in_two_splits_by_our_doing():
    rows = labelled(50) * 3
    prepared = run(rows)
    texts = [set(part["text"]) for part in prepared.splits.values()]
    assert sum(len(part) for part in texts) == 50
    assert prepared.audit["duplicates"] == {"exact": 100, "near": None}
    assert prepared.audit["leakage"]["exact"] == 0


def test_leakage_between_given_splits_is_said_with_ids_or_refused():
    rows = {"train": labelled(20), "test": [*labelled(3), *labelled(5, start=40)]}
    prepared = run(rows)
    assert prepared.audit["leakage"]["exact"] == 3
    assert prepared.audit["leakage"]["pairs"][0] == ["train:1", "test:1"]
    assert any("3 rows of test are also in another split" in m for m in prepared.audit["messages"])
    assert "train:1 = test:1" in str(refused(rows=rows, leakage="error"))


def test_deduplication_takes_leaked_rows_out_of_train():
    rows = {
        "train": [*labelled(20), labelled(1)[0]],
        "test": [*labelled(3), *labelled(5, start=40)],
    }
    prepared = run(rows, clean={"exact_duplicates": {"action": "drop"}}, leakage="error")
    assert prepared.audit["leakage"]["exact"] == 4
    assert not set(prepared.splits["train"]["text"]) & set(prepared.splits["test"]["text"])
    assert prepared.audit["rows"] == {"read": 29, "kept": 25, "dropped": 4}
    assert {entry["step"] for entry in prepared.quarantine} == {"exact_duplicates"}


def test_conflicting_labels_are_counted():
    rows = [*labelled(20), {"text": "text 0", "label": "b"}]
    prepared = run(rows)
    assert prepared.audit["label_conflicts"] == 2
    assert any(
        "2 rows have the same input as another" in said for said in prepared.audit["messages"]
    )
    assert prepared.audit["duplicates"]["exact"] == 0


def test_the_fingerprint_follows_content_alone(write):
    rows = labelled(30)
    csv = "text,label\n" + "".join(f"{row['text']},{row['label']}\n" for row in rows)
    jsonl = "".join(json.dumps(row) + "\n" for row in rows)
    from_csv = run(path=write("x.csv", csv)).fingerprints
    assert from_csv == run(path=write("y.jsonl", jsonl)).fingerprints
    assert from_csv != run(path=write("x.csv", csv.replace("text 7,", "text 7b,"))).fingerprints


# ---------------------------------------------------------------- options


def test_a_path_beside_split_files_is_ignored_when_train_is_given(write):
    train = write("mine.csv", "text,label\n" + "".join(f"t{i},{'ab'[i % 2]}\n" for i in range(40)))
    prepared = run(path="no/such/sample", train=train)
    assert sum(prepared.audit["splits"].values()) == 40
    assert any("`data.path` is not used" in text for text in prepared.audit["messages"])


def test_a_path_with_a_separate_test_is_the_training_data(write):
    rows = "text,label\n" + "".join(f"t{i},{'ab'[i % 2]}\n" for i in range(40))
    prepared = run(path=write("all.csv", rows), test=write("t.csv", "text,label\nq,a\nr,b\n"))
    assert prepared.audit["splits"]["test"] == 2
    assert set(prepared.splits["test"]["id"]) == {"t.csv:2", "t.csv:3"}


def test_ids_of_files_of_the_same_name_are_told_apart(write):
    rows = "text,label\n" + "".join(f"t{i},{'ab'[i % 2]}\n" for i in range(40))
    prepared = run(
        train=write("a/x.csv", rows),
        test=write("b/x.csv", rows.replace("t", "u").replace("ue", "te").replace("xu", "xt")),
    )
    assert "test/x.csv:2" in prepared.splits["test"]["id"]


def test_nothing_named_and_two_things_named_are_configuration_errors():
    with pytest.raises(ConfigError, match="No data are named"):
        run()
    with pytest.raises(ConfigError, match="Both rows and a path"):
        run(labelled(3), path="x.csv")


def test_an_unknown_column_is_refused_before_any_value_is_looked_at():
    assert "did you mean `text`" in str(refused(rows=labelled(9), columns={"text": "txet"}))


def test_splits_survive_parquet(tmp_path):
    import pyarrow.parquet as pq

    prepared = run(labelled(30), keep=["who"])
    prepared.splits["train"].to_parquet(tmp_path / "train.parquet")
    table = pq.read_table(tmp_path / "train.parquet")
    assert table.column_names == ["id", "text", "label", "who"]
    assert table.to_pylist() == prepared.splits["train"].to_list()
    json.dumps(prepared.audit, allow_nan=False)


def test_nothing_is_written_beside_the_data_or_into_a_home(write, tmp_path):
    path = write("data/x.csv", "text,label\n" + "".join(f"t{i},{'ab'[i % 2]}\n" for i in range(40)))
    home = tmp_path / "home"
    home.mkdir(mode=0o500)
    code = (
        "from finetune.data.kinds import *; from finetune.data.prepare import prepare; "
        f"p = prepare(kinds={{'text': Text(), 'label': Label()}}, path={str(path)!r}); "
        "print(p.splits['train'].map(lambda r: {'n': 1}).num_rows)"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "XDG_"))}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment | {"HOME": str(home), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout.split()[-1] == "28"
    assert list(home.rglob("*")) == []
    assert [item.name for item in path.parent.iterdir()] == ["x.csv"]


# ---------------------------------------------------------------- real data


def test_banking77_runs_as_it_is(shared):
    prepared = run(path=shared("text_cls_banking77"))
    assert prepared.audit["columns"] == {"text": "text", "label": "category"}
    assert prepared.audit["splits"]["test"] == 1001
    assert len(prepared.audit["classes"]) == 77


def test_xquad_translation_runs_from_two_files(shared):
    folder = shared("translation_xquad")
    prepared = run(
        kinds=PAIR, train=folder / "train.en-de.csv", test=folder / "test.en-de.csv", keep=["unit"]
    )
    assert prepared.audit["rows"]["kept"] == 1072
    assert prepared.splits["train"].column_names == ["id", "source", "target", "unit"]


def test_p3_instructions_become_conversations(shared):
    prepared = run(kinds=CHAT, path=shared("instruct_p3_open"), keep=["task"])
    assert prepared.audit["splits"]["test"] == 500
    turns = prepared.splits["train"][0]["messages"]
    assert [turn["role"] for turn in turns] == ["user", "assistant"]


def test_emoji_captions_and_spoken_digits_run_as_they_are(shared):
    emoji = run(kinds={"image": Image(), "text": Text()}, path=shared("image_text_fxemoji"))
    assert emoji.audit["splits"]["test"] == 84
    digits = run(
        kinds={"audio": Audio(), "text": Text()}, path=shared("asr_fsdd"), keep=["speaker"]
    )
    assert digits.audit["columns"] == {"audio": "audio", "text": "transcription"}
    assert digits.audit["splits"]["test"] == 120
    assert digits.splits["test"][0]["audio"]["bytes"].startswith(b"RIFF")


def test_the_messy_messages_say_what_to_set_until_they_run(shared):
    options = {"path": shared("messy_sms_spam"), "columns": {"text": "v2", "label": "v1"}}
    assert "data.encoding=cp1252" in refused(**options).fix
    assert "spam_part1.csv:100" in str(refused(**options, reading={"encoding": "cp1252"}))
    prepared = run(
        **options,
        reading={"encoding": "cp1252"},
        on_invalid="drop",
        clean={"exact_duplicates": {"action": "drop"}},
    )
    assert prepared.audit["duplicates"]["exact"] >= 200
    assert set(prepared.audit["classes"]) == {"ham", "spam"}


def test_labels_that_train_lacks_may_be_kept_in_the_test_and_are_told_apart():
    given = {
        "train": labelled(20),
        "validation": [*labelled(4, start=30), {"text": "v", "label": "new"}],
        "test": [*labelled(4, start=40), {"text": "x", "label": "newer"}],
    }
    assert "data.unseen_labels=report" in refused(rows=given).fix
    prepared = run(given, unseen_labels="report")
    assert prepared.audit["unseen_labels"] == {"validation": {"new": 1}, "test": {"newer": 1}}
    assert "newer" in prepared.splits["test"]["label"]
    assert "new" not in prepared.splits["validation"]["label"]
    assert prepared.quarantine[0]["before"] == {"text": "v", "label": "new"}


def test_missing_values_may_be_filled_instead_of_refused():
    rows = [*labelled(20), {"text": "no label", "label": None}]
    prepared = run(rows, fill={"label": "other"})
    assert prepared.audit["classes"]["other"] == 1
    assert any("filled in 1 row" in text for text in prepared.audit["messages"])
    with pytest.raises(ConfigError, match=r"data\.fill\.lable"):
        run(rows, fill={"lable": "x"})
