"""Folding: what is dropped before texts are compared, and columns that become one text."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.data.near.normal import TextRows, digests, folded, joined


def fold(text, *company):
    return folded(pa.array([text, *company], pa.large_string()))[0].as_py()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  Hello,\tWORLD!\n", "hello world"),
        ("Déjà vu", "deja vu"),
        ("don’t don't", "dont dont"),
        ("a\u200bb\u00adc\ufeff", "abc"),
        ("ﬁne ½", "fine 1⁄2"),
        ("C++ is $5", "c++ is $5"),
        ("?!", "?!"),
        (" ", ""),
        ("कि", "कि"),
        ("Ὀδυσσεύς", "οδυσσευσ"),
        ("🙂", "🙂"),
    ],
)
def test_folding_keeps_what_means_something(text, expected):
    assert fold(text) == expected


@given(st.text(max_size=30))
def test_a_text_folds_the_same_in_any_company_and_twice_is_once(text):
    alone = fold(text)
    assert fold(text, "é", "plain") == alone
    assert fold(alone) == alone or not any(letter.isalnum() for letter in alone)


def test_nulls_dictionaries_and_lists_become_text():
    batch = pa.record_batch(
        {
            "word": pa.array(["a", None, "b"]).dictionary_encode(),
            "list": pa.array([["x", None, "y"], None, []], pa.list_(pa.string())),
        }
    )
    assert joined(batch, ["word", "list"]).to_pylist() == ["a\nx\n\ny", "\n", "b\n"]


def test_rows_taken_are_the_rows_asked_for_across_batches():
    texts = [f"row {number}" for number in range(20_000)]
    rows = TextRows(
        [pa.table({"text": texts[:9_000]}), pa.table({"text": texts[9_000:]})], ["text"]
    )
    import numpy as np

    chosen = np.array([0, 8_191, 8_192, 8_999, 9_000, 19_999])
    assert rows.take(chosen)[0].to_pylist() == [texts[row] for row in chosen]
    assert len(rows) == 20_000


def test_hashes_see_where_one_column_ends_and_the_next_begins():
    def column(*texts):
        return pa.array(texts, pa.large_string())

    assert len(set(digests(column("ab", "a"), column("c", "bc")).tolist())) == 2
    assert digests(column("x", "y", "z").slice(1)).tolist() == digests(column("y", "z")).tolist()
    assert digests(column()).tolist() == []
