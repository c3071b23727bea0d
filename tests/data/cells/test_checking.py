"""A whole table: what is found in real ones, against their clean versions, and in odd ones."""

import csv
import random
import sys
from collections import defaultdict

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.data.cells import check

# What holds of each real table, a little below what was measured: docs/data_quality.md.
LEAST = {"messy_table_beers": (0.99, 0.99), "messy_table_hospital": (0.99, 0.98)}
LEAST_OF = {
    "messy_table_beers": {"missing_marker": 0.99, "unit": 0.99, "run_together": 0.99},
    "messy_table_hospital": {
        "inconsistent": 0.98,
        "typo": 0.98,
        "not_a_number": 0.98,
        "unit": 0.98,
    },
}
# The clean version keeps the word `empty` where there is nothing: neither right nor wrong to find.
NOT_COUNTED = {"messy_table_beers": (), "messy_table_hospital": ("missing_marker",)}


def read(path):
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    return header, rows


def figures(folder, name):
    """Return precision, recall and repaired cells, overall and by kind."""
    header, dirty = read(folder / "dirty.csv")
    clean = read(folder / "clean.csv")[1]
    truth = {
        (row, column): right
        for row, (was, now) in enumerate(zip(dirty, clean, strict=True))
        for column, wrong, right in zip(header, was, now, strict=True)
        if wrong != right
    }
    columns = zip(header, zip(*dirty, strict=True), strict=True)
    table = pa.table({column: pa.array(cells, pa.string()) for column, cells in columns})
    found = defaultdict(dict)
    for finding in check(table).findings.to_pylist():
        cell = finding["row"], finding["column"]
        if finding["kind"] not in NOT_COUNTED[name]:
            found[finding["kind"]][cell] = finding["proposal"]
            found["all"][cell] = finding["proposal"] or found["all"].get(cell)
    return {
        kind: (
            len(cells),
            len(truth.keys() & cells.keys()) / len(cells),
            len(truth.keys() & cells.keys()) / len(truth),
            sum(truth.get(cell) == (proposal or "") for cell, proposal in cells.items()),
        )
        for kind, cells in sorted(found.items())
    }


@pytest.mark.parametrize("name", LEAST)
def test_what_is_wrong_with_a_real_table_is_found_and_little_else(shared, name):
    measured = figures(shared(name), name)
    sys.stdout.write(f"\n{name}\n| kind | cells | precision | recall | repaired |\n")
    for kind, (cells, precision, recall, repaired) in measured.items():
        sys.stdout.write(
            f"| {kind} | {cells:,} | {precision:.3f} | {recall:.3f} | {repaired:,} |\n"
        )
    precision, recall = LEAST[name]
    assert measured["all"][1] >= precision
    assert measured["all"][2] >= recall
    for kind, least in LEAST_OF[name].items():
        assert measured[kind][1] >= least, kind


@pytest.mark.parametrize("name", LEAST)
def test_a_clean_table_raises_hardly_an_alarm(shared, name):
    header, rows = read(shared(name) / "clean.csv")
    columns = zip(header, zip(*rows, strict=True), strict=True)
    table = pa.table({column: pa.array(cells, pa.string()) for column, cells in columns})
    kinds = check(table).findings.column("kind").to_pylist()
    alarms = sum(kind != "missing_marker" for kind in kinds)
    assert alarms <= 0.0006 * table.num_rows * table.num_columns


def slip(text, draw):
    """Mistype a letter: another one, one too many, one too few, or two swapped."""
    at = draw.randrange(len(text))
    letter, kind = draw.choice("abcdefghijklmnopqrstuvwxyz"), draw.choice("orms")
    if kind == "s":
        at = min(at, len(text) - 2)
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    return text[:at] + {"o": letter, "m": letter + text[at], "r": ""}[kind] + text[at + 1 :]


PLANTED = {
    "messy_table_beers": ("style", "brewery-name", "city", "state"),
    "messy_table_hospital": (
        *("HospitalName", "City", "State", "ZipCode", "CountyName", "PhoneNumber", "HospitalType"),
        *("HospitalOwner", "Condition", "MeasureCode", "MeasureName", "Stateavg"),
    ),
}
# Of planted slips, and of values put in from another row: least precision and recall.
LEAST_PLANTED = {
    ("messy_table_beers", "slip"): (0.9, 0.87),
    ("messy_table_beers", "swap"): (0.65, 0.38),
    ("messy_table_hospital", "slip"): (0.98, 0.97),
    ("messy_table_hospital", "swap"): (0.94, 0.93),
}


@pytest.mark.parametrize(("name", "kind"), LEAST_PLANTED)
def test_errors_of_another_kind_than_the_tables_own_are_found_too(shared, name, kind):
    header, rows = read(shared(name) / "clean.csv")
    clean = {column: [row[at] for row in rows] for at, column in enumerate(header)}
    dirty, truth = {column: list(values) for column, values in clean.items()}, {}
    draw = random.Random(1)
    for column in PLANTED[name]:
        for row in draw.sample(range(len(rows)), len(rows) * 2 // 100):
            right = clean[column][row]
            if len(right) > 1:
                wrong = slip(right, draw) if kind == "slip" else draw.choice(clean[column])
                if wrong != right:
                    dirty[column][row], truth[row, column] = wrong, right
    table = pa.table({column: pa.array(cells, pa.string()) for column, cells in dirty.items()})
    findings = check(table).findings.to_pylist()
    cells = {(f["row"], f["column"]) for f in findings if f["kind"] != "missing_marker"}
    hits = len(cells & truth.keys())
    precision, recall = hits / len(cells), hits / len(truth)
    sys.stdout.write(f"\n{name}, {kind}: precision {precision:.3f}, recall {recall:.3f}\n")
    assert precision >= LEAST_PLANTED[name, kind][0]
    assert recall >= LEAST_PLANTED[name, kind][1]


def test_findings_name_row_column_kind_and_proposal_in_the_order_of_rows():
    table = pa.table({"price": ["1.5", "2,5", "N/A", "3.5", "4.5", "5.5"], "note": ["a"] * 6})
    checked = check(table, ids=[f"f.csv:{line}" for line in range(2, 8)])
    assert checked.findings.to_pylist() == [
        {"row": 1, "column": "price", "kind": "decimal_comma", "proposal": "2.5"},
        {"row": 2, "column": "price", "kind": "missing_marker", "proposal": None},
    ]
    assert checked.columns["price"] == {
        "kind": "number",
        "rows": 6,
        "missing": 1,
        "distinct": 5,
        "found": {"decimal_comma": 1, "missing_marker": 1},
        "examples": {"decimal_comma": ["f.csv:3"], "missing_marker": ["f.csv:4"]},
    }
    assert checked.columns["note"]["constant"]


def test_a_rare_value_that_other_columns_vouch_for_is_no_typo():
    towns = ["Portland", "Boise", "Cortland"]
    rows = [0] * 60 + [1] * 60 + [2] * 3
    table = pa.table({"zip": [f"x{row}" for row in rows], "city": [towns[row] for row in rows]})
    assert check(table.select(["city"])).findings.num_rows == 3
    assert check(table).findings.num_rows == 0


def test_the_order_of_rows_changes_nothing_but_the_numbers_of_rows(shared):
    header, rows = read(shared("messy_table_hospital") / "dirty.csv")

    def found(rows):
        columns = zip(header, zip(*rows, strict=True), strict=True)
        table = pa.table({column: pa.array(cells, pa.string()) for column, cells in columns})
        return {
            (rows[item["row"]][0], item["column"], item["kind"], item["proposal"])
            for item in check(table).findings.to_pylist()
        }

    assert found(rows) == found(rows[::-1])


def test_columns_that_hold_lists_are_left_out_and_only_the_named_are_looked_at():
    table = pa.table({"a": [["x"]], "b": ["y"], "c": ["z"]})
    assert list(check(table).columns) == ["b", "c"]
    assert list(check(table, ["c"]).columns) == ["c"]


cells = st.one_of(
    st.none(),
    st.sampled_from(["", "N/A", "1", "1,5", "2.5", "-", "01.02.2024", "a", "A", "3 kg", "-999"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(cells, cells, cells), max_size=30))
def test_any_table_can_be_checked(rows):
    table = pa.table(
        {name: pa.array([row[at] for row in rows], pa.string()) for at, name in enumerate("abc")}
    )
    checked = check(table)
    assert sum(sum(entry["found"].values()) for entry in checked.columns.values()) == (
        checked.findings.num_rows
    )
