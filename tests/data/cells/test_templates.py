"""A column written out of two others is recognised."""

import numpy as np
import pyarrow as pa

from finetune.data.cells.encoded import encode
from finetune.data.cells.templates import written_out


def columns(size=60):
    head = [("al", "ak", "wy")[row % 3] for row in range(size)]
    tail = [f"hf-{row % 7}" for row in range(size)]
    return head, tail, [f"{a}_{b}" for a, b in zip(head, tail, strict=True)]


def encoded(head, tail, both):
    pairs = (("head", head), ("tail", tail), ("both", both))
    return [encode(name, pa.array(values)) for name, values in pairs]


def test_cells_made_of_two_others_are_told_from_those_that_are_not():
    head, tail, both = columns()
    both[3] = "ax_hf-3"
    head, tail, both = encoded(head, tail, both)
    assert np.flatnonzero(~written_out(both, [head, tail])).tolist() == [3]


def test_columns_that_share_no_letters_make_up_nothing():
    head, tail, _ = columns()
    head, tail, other = encoded(head, tail, [str(row) for row in range(60)])
    assert written_out(other, [head, tail]) is None
    assert written_out(encode("a", pa.array([], pa.string())), [head]) is None
