"""Sheets of a workbook, cell by cell as text."""

import datetime
import zipfile

import openpyxl
import pytest

from finetune.data import workbooks
from finetune.data.sources import Reading, read
from finetune.errors import ConfigError, DataError


@pytest.fixture
def book(tmp_path):
    def make(**sheets):
        made = openpyxl.Workbook()
        made.remove(made.active)
        for name, rows in sheets.items():
            sheet = made.create_sheet(name)
            for row in rows:
                sheet.append(row)
        made.save(tmp_path / "x.xlsx")
        return tmp_path / "x.xlsx"

    return make


def only(found):
    (source,) = found.values()
    return source


def test_cells_are_text_as_people_see_them(book):
    when = datetime.datetime(2020, 1, 2, 3, 4)
    path = book(
        mail=[
            ["text", "n", "day", "moment", "ok", None],
            ["zwölf", 7, datetime.date(2020, 1, 2), when, True],
            [],
            ["b", 7.5, None, None, None],
        ],
        empty=[],
    )
    found = only(read(path))
    assert found.table.to_pylist() == [
        {
            "text": "zwölf",
            "n": "7",
            "day": "2020-01-02",
            "moment": "2020-01-02T03:04:00",
            "ok": "TRUE",
        },
        {"text": "b", "n": "7.5", "day": "", "moment": "", "ok": ""},
    ]
    assert list(found.ids) == ["x.xlsx:2", "x.xlsx:4"]


def test_several_sheets_have_to_be_chosen_from(book):
    path = book(one=[["a"], ["1"]], two=[["a"], ["2"]])
    with pytest.raises(DataError, match="2 sheets: `one`, `two`") as raised:
        read(path)
    assert "data.sheet=NAME" in raised.value.fix
    assert only(read(path, Reading(sheet="two"))).table.to_pylist() == [{"a": "2"}]
    with pytest.raises(ConfigError, match="did you mean `two`"):
        read(path, Reading(sheet="tow"))


def test_a_sheet_without_header_takes_names(book):
    path = book(one=[["x", 1], ["y", 2]])
    found = only(read(path, Reading(header=["text", "label"])))
    assert found.table["text"].to_pylist() == ["x", "y"]
    assert list(found.ids) == ["x.xlsx:1", "x.xlsx:2"]
    with pytest.raises(ConfigError, match=r"names 1 columns, but `x\.xlsx` has 2"):
        read(path, Reading(header=["text"]))


def test_what_is_no_workbook_is_refused(write, book, monkeypatch):
    with pytest.raises(DataError, match="cannot be read as a workbook"):
        read(write("y.xlsx", "not at all"))
    with zipfile.ZipFile(write("z.xlsx", ""), "w") as parts:
        parts.writestr("a", "b")
    with pytest.raises(DataError, match="cannot be read as a workbook"):
        read(write("y.xlsx", "x").with_name("z.xlsx"))
    monkeypatch.setattr(workbooks, "MAX_UNPACKED", 100)
    with pytest.raises(DataError, match="more than a workbook may"):
        read(book(one=[["a"], ["1"]]))
    monkeypatch.undo()
    with pytest.raises(DataError, match="holds no rows"):
        read(book(one=[["a"]]))
