"""Cells that hold what belongs into another column are found."""

import numpy as np
import pyarrow as pa

from finetune.data.cells import moved
from finetune.data.cells.encoded import encode

CITIES = ["Bend", "San Francisco", "Portland", "Boise", "Salt Lake City"] * 12
STATES = ["OR", "CA", "OR", "ID", "UT"] * 12


def found(detector, **cells):
    columns = [encode(name, pa.array(values)) for name, values in cells.items()]
    present = {
        column.name: np.array([bool(text.strip()) for text in column.texts], bool)
        for column in columns
    }
    return {
        (int(row), item.column): proposal
        for item in detector(columns, present)
        for row, proposal in zip(item.rows, item.proposals.to_pylist(), strict=True)
    }


def test_two_values_run_together_are_taken_apart():
    city, state = CITIES.copy(), STATES.copy()
    city[1], state[1] = "San Francisco CA", ""
    city[9], state[9] = "Salt Lake City, UT", ""
    assert found(moved.run_together, city=city, state=state) == {
        (1, "city"): "San Francisco",
        (1, "state"): "CA",
        (9, "city"): "Salt Lake City",
        (9, "state"): "UT",
    }


def test_an_ending_that_is_known_elsewhere_is_no_evidence_while_the_other_cell_is_filled():
    city, state = CITIES.copy(), STATES.copy()
    city[1] = city[6] = "San Francisco CA"
    state[1] = ""
    assert {row for row, _ in found(moved.run_together, city=city, state=state)} == {1}


def test_swapped_cells_are_proposed_for_each_other():
    city, state = CITIES.copy(), STATES.copy()
    city[3], state[3] = state[3], city[3]
    assert found(moved.elsewhere, city=city, state=state) == {
        (3, "city"): "Boise",
        (3, "state"): "ID",
    }


def test_a_value_from_another_column_without_its_counterpart_proposes_nothing():
    state = STATES.copy()
    state[3] = "Portland"
    assert found(moved.elsewhere, city=CITIES, state=state) == {(3, "state"): None}


def test_columns_of_one_domain_hold_each_others_values():
    home, guest = [*CITIES, "Rome"], [*CITIES[7:], *CITIES[:7], "Bend"]
    guest[:9] = ["Rome"] * 9
    assert found(moved.elsewhere, home=home, guest=guest) == {}
