"""Dates in another form, in another order or of no calendar are found."""

from datetime import date

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.data.cells import dates
from finetune.data.cells.encoded import encode
from finetune.data.cells.profile import profile


def found(*texts):
    one = profile(encode("a", pa.array(texts)))
    assert one.kind == "date"
    return {
        (int(row), item.kind): proposal
        for item in dates.findings(one.column, one.dates, one.present)
        for row, proposal in zip(item.rows, item.proposals.to_pylist(), strict=True)
    }


FORMS = [
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%d.%m.%Y",
    "%d %B %Y",
    "%B %d, %Y",
    "%Y-%m-%d %H:%M:%S",
    "%d-%b-%Y",
]


@given(st.lists(st.dates(date(1000, 1, 1)), min_size=1), st.sampled_from(FORMS))
def test_dates_in_one_form_are_in_order(days, form):
    texts = [day.strftime(form) for day in days] + [date(2024, 1, 31).strftime(form)]
    assert found(*texts) == {}


@given(st.dates(date(1970, 1, 1)), st.sampled_from(FORMS))
def test_the_proposal_is_the_day_itself(day, form):
    usual = [f"2024-05-{number:02d}" for number in range(1, 29)]
    column = encode("a", pa.array([*usual, day.strftime(form), "31.12.2024"]))
    read = dates.read(column, column.counts > 0)
    assert read.days[column.codes[28]].as_py() == day.isoformat()


def test_another_form_than_the_usual_one_is_found_with_the_day_proposed():
    assert found("2024-01-31", "2024-02-01", "2024-02-02", "February 3, 2024", "13.02.2024") == {
        (3, "date_format"): "2024-02-03",
        (4, "date_format"): "2024-02-13",
    }


def test_a_day_that_can_be_read_in_two_ways_gets_no_proposal():
    assert found("2024-01-31", "2024-02-01", "2024-02-02", "03/04/2024") == {
        (3, "date_format"): None
    }


@pytest.mark.parametrize("text", ["2023-02-29", "2024-13-01", "2024-04-31", "2024-00-10"])
def test_a_day_of_no_calendar_is_found(text):
    assert found("2024-01-31", "2024-02-29", "2024-02-02", "2000-02-29", text) == {
        (4, "impossible_date"): None
    }


def test_the_order_of_day_and_month_is_the_columns_and_its_exceptions_are_found():
    usual = [f"{day}/02/2024" for day in range(1, 29)]
    assert found(*usual, "02/28/2024") == {(28, "date_format"): "2024-02-28"}


def test_words_among_dates_are_found():
    assert found(*["2024-01-31"] * 9, "soon") == {(9, "not_a_date"): None}


def test_eight_digits_are_dates_only_where_all_can_be():
    assert found(*(f"202401{day:02d}" for day in range(1, 31)), "20240231") == {
        (30, "impossible_date"): None
    }
    codes = encode("a", pa.array([f"2{number:07d}" for number in range(0, 9_000_000, 99_991)]))
    assert profile(codes).kind == "number"
