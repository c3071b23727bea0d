"""Dotted keys, by their last part."""

from __future__ import annotations

from finetune.config import names
from finetune.config.schema import QuantizationConfig


def test_nested_and_repeated_keys_are_found_by_their_last_part():
    keys = names.dotted_keys()
    assert keys["group_by"] == ("data.split.group_by",)
    assert set(keys["revision"]) == {
        "model.revision",
        "data.revision",
        "data.synthesize.revision",
    }
    assert keys["bits"] == ("strategy.quantization.bits",)


def test_a_group_beside_null_is_still_a_group():
    assert names.group_in(QuantizationConfig | None) is QuantizationConfig
    assert names.group_in(int | None) is None


def test_no_key_at_the_top_is_named_twice():
    assert len(set(names.ROOT)) == len(names.ROOT)
