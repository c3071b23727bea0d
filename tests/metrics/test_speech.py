"""Error rates against jiwer."""

import jiwer
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.metrics import find
from finetune.metrics.speech import normalized

word = st.sampled_from(["one", "two", "three", "Two,", "ö", " "])
utterance = st.lists(word, max_size=7).map(" ".join)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(utterance, utterance), min_size=1, max_size=6))
def test_the_rates_are_jiwers_over_the_whole_set(pairs: list[tuple[str, str]]) -> None:
    predictions, references = ([pair[side] for pair in pairs] for side in (0, 1))
    assert find("wer")(predictions, references) == pytest.approx(jiwer.wer(references, predictions))
    assert find("cer")(predictions, references) == pytest.approx(jiwer.cer(references, predictions))


def test_a_set_is_weighted_by_its_words() -> None:
    assert find("wer")(["x", "a b c"], ["a", "a b c"]) == 1 / 4
    assert find("cer")(["abd", ""], ["abc", "d"]) == 2 / 4


def test_silence_is_defined() -> None:
    assert find("wer")([""], [""]) == 0
    assert find("wer")(["two words"], [""]) == 2
    assert find("wer")([""], ["two words"]) == 1


def test_normalisation_forgives_case_and_punctuation_alone() -> None:
    assert normalized("  Don't—STOP, № 5!\n") == "dont stop no 5"
    assert normalized("हिन्दी") == "हिन्दी"
    assert find("wer_normalized")(["Hello, world!"], ["hello world"]) == 0
    assert find("cer_normalized")(["Hello, word!"], ["hello world"]) == pytest.approx(1 / 11)
    assert find("wer")(["Hello, world!"], ["hello world"]) == 1
