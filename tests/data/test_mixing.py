"""Sources mixed by weight: shares, no row twice, and the same rows whatever their order."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.data.mixing import read_mix, shares
from finetune.data.problems import Problems
from finetune.data.sources import UNCUT, Reading
from finetune.errors import ConfigError, DataError


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 10_000), st.floats(0.01, 100)), min_size=1, max_size=5))
def test_shares_keep_the_weights_and_use_one_source_up(given):
    counts = {str(index): count for index, (count, _) in enumerate(given)}
    weights = {str(index): weight for index, (_, weight) in enumerate(given)}
    taken = shares(counts, weights)
    assert all(1 <= taken[name] <= counts[name] for name in counts)
    assert any(taken[name] == counts[name] for name in counts)
    scale = min(counts[name] / weights[name] for name in counts)
    for name in counts:
        assert taken[name] == 1 or abs(taken[name] - weights[name] * scale) < 1.001


def test_shares_that_come_out_even_are_not_rounded_down():
    assert shares({"a": 7, "b": 100}, {"a": 0.7, "b": 0.3}) == {"a": 7, "b": 3}
    assert shares({"a": 100, "b": 100}, {"a": 3, "b": 1}) == {"a": 100, "b": 33}


def lines(prefix, count):
    return [f"{prefix}{index}\n" for index in range(count)]


def test_rows_name_their_source_and_counts_are_said(write):
    mix = {
        "mail": {"path": write("a/x.csv", "text\n" + "".join(lines("m", 40))), "weight": 3},
        "chat": {
            "path": write("b/x.csv", "body;kind\n" + "".join(f"c{i};z\n" for i in range(40))),
            "columns": {"text": "body"},
        },
    }
    reading = Reading()
    (source,) = read_mix(mix, reading, seed=1).values()
    names = source.table["source"].to_pylist()
    assert (names.count("mail"), names.count("chat")) == (40, 13)
    assert len(set(source.table["text"].to_pylist())) == 53
    assert (source.ids[0], source.root) == ("mail/x.csv:2", None)
    assert "The mix takes 40 of 40 rows of `mail`, 13 of 40 rows of `chat`." in reading.messages
    assert source.table["kind"].to_pylist()[-1] == "z"


def test_the_draw_depends_on_content_and_seed_and_not_on_order(write):
    other = {"path": write("o.csv", "text\n" + "".join(lines("o", 10)))}

    def taken(rows, seed):
        entry = {"path": write("x.csv", "text\n" + "".join(rows))}
        (source,) = read_mix({"x": entry, "o": other}, Reading(), seed=seed).values()
        return {text for text in source.table["text"].to_pylist() if text.startswith("x")}

    rows = lines("x", 50)
    before = taken(rows, 1)
    random.Random(0).shuffle(rows)
    assert taken(rows, 1) == before
    assert len(before) == 10
    assert taken(rows, 2) != before


def test_given_splits_stay_and_only_training_rows_are_weighed(write):
    write("a/train.csv", "text\n" + "".join(lines("a", 10)))
    folder = write("a/test.csv", "text\nt\n").parent
    file = write("b.csv", "text\n" + "".join(lines("b", 10)))
    reading = Reading()
    mix = {"a": {"path": folder, "weight": 1}, "b": {"path": file, "weight": 1}}
    found = read_mix(mix, reading, seed=0)
    assert {split: part.table.num_rows for split, part in found.items()} == {"train": 20, "test": 1}
    assert "`b` has no splits: all of it is training data." in reading.messages


def test_the_column_can_be_called_otherwise_where_source_is_the_tasks_own(write):
    mix = {"a": {"path": write("a.csv", "source,target\nx,y\n")}}
    (part,) = read_mix(mix, Reading(), seed=0, column="mix").values()
    assert part.table.to_pylist() == [{"source": "x", "target": "y", "mix": "a"}]
    reading = Reading()
    (part,) = read_mix(mix, reading, seed=0).values()
    assert part.table.to_pylist() == [{"target": "y", "source": "a"}]
    assert "gives way" in reading.messages[0]


def test_templates_nested_fields_and_swapped_names_are_filled(write):
    path = write("a.jsonl", '{"a": "x", "b": "y", "deep": {"label": "1"}}\n')
    mix = {
        "a": {
            "path": path,
            "columns": {"a": "b", "b": "a", "text": "{a}-{b}", "label": "deep.label"},
        }
    }
    (part,) = read_mix(mix, Reading(), seed=0).values()
    row = part.table.to_pylist()[0]
    assert {name: row[name] for name in ("a", "b", "text", "label")} == {
        "a": "y",
        "b": "x",
        "text": "x-y",
        "label": "1",
    }


def test_pictures_of_several_folders_are_put_into_their_rows(write, png):
    for name, colour in (("a", (255, 0, 0)), ("b", (0, 255, 0))):
        write(f"{name}/red/1.png", png(colour))
        folder = write(f"{name}/blue/1.png", png(colour)).parents[1]
    mix = {name: {"path": folder.with_name(name)} for name in ("a", "b")}
    found = read_mix(mix, Reading(), seed=0, embed=["image"])[UNCUT]
    assert [len(row["bytes"]) > 0 for row in found.table["image"].to_pylist()] == [True] * 4
    assert found.ids[-1] == "b/red/1.png"


@pytest.mark.parametrize(
    ("mix", "said"),
    [
        ({}, "names no sources"),
        ({"a": {"weight": 1}}, "has no path"),
        ({"a": {"path": "x", "weight": 0}}, "weight=0` is not a positive"),
        ({"a": {"path": "x", "weight": float("nan")}}, "not a positive"),
        ({"a": {"path": "x", "weigth": 2}}, "did you mean `weight`"),
    ],
)
def test_a_mix_that_makes_no_sense_is_refused(mix, said):
    with pytest.raises(ConfigError, match=said):
        read_mix(mix, Reading(), seed=0)


def test_a_column_that_is_not_there_is_listed_with_those_that_are(write):
    mix = {"a": {"path": write("a.csv", "body\nx\n"), "columns": {"text": "bodi"}}}
    with pytest.raises(DataError, match="did you mean `body`") as raised:
        read_mix(mix, Reading(), seed=0)
    assert "data.mix.a.columns.text" in raised.value.fix


def test_bad_lines_of_a_source_are_told_apart_from_those_of_another(write):
    problems = Problems("drop")
    mix = {name: {"path": write(f"{name}/x.csv", "a,b\n1,2\n3\n")} for name in ("m", "n")}
    read_mix(mix, Reading(problems=problems), seed=0)
    assert [entry["id"] for entry in problems.quarantine] == ["m/x.csv:3", "n/x.csv:3"]
