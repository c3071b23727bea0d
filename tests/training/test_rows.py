"""A split for training."""

from finetune.training.rows import Rows


def test_a_split_is_as_long_as_its_ids():
    assert len(Rows(ids=["a", "b"], raw=None, lengths=[1, 2], fetch=None)) == 2
