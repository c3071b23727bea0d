"""Generated text against the packages that define its metrics."""

import math
import random

import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from finetune.metrics import find
from finetune.metrics.text import normalized_answer

# the degenerate cases are decided, not computed and then hushed
pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

word = st.sampled_from(["the", "cat", "sat", "on", "a", "mat", "mat.", "naïve", "猫", "1998-03"])
sentence = st.lists(word, max_size=9).map(" ".join)
corpus = st.lists(st.tuples(sentence, sentence), min_size=1, max_size=6)


def split(pairs: list[tuple[str, str]]) -> tuple[list[str], list[str]]:
    return [given for given, _ in pairs], [wanted for _, wanted in pairs]


@settings(max_examples=150, deadline=None)
@given(corpus)
def test_bleu_and_chrf_are_sacrebleus_of_the_corpus(pairs: list[tuple[str, str]]) -> None:
    predictions, references = split(pairs)
    expected = sacrebleu.corpus_bleu(predictions, [references], force=True).score
    assert find("bleu")(predictions, references) == pytest.approx(expected, abs=1e-9)
    expected = sacrebleu.corpus_chrf(predictions, [references]).score
    assert find("chrf")(predictions, references) == pytest.approx(expected, abs=1e-9)


def test_a_resampled_bleu_is_sacrebleus_of_the_resampled_corpus() -> None:
    draw = random.Random(0)
    words = ["the", "cat", "sat", "on", "a", "mat", "and", "saw", "the", "dog"]
    predictions = [" ".join(draw.choices(words, k=9)) for _ in range(30)]
    references = [" ".join(draw.choices(words, k=10)) for _ in range(30)]
    chosen = draw.choices(range(30), k=30)
    drawn = [predictions[i] for i in chosen], [references[i] for i in chosen]
    for name, function in [("bleu", sacrebleu.corpus_bleu), ("chrf", sacrebleu.corpus_chrf)]:
        metric = find(name)
        sums = metric.measure(predictions, references)[chosen].sum(axis=0)
        assert float(metric.value(sums)) == pytest.approx(function(drawn[0], [drawn[1]]).score)
        assert 1 < metric.value(sums) < 99


def test_rows_may_have_several_references_and_not_all_as_many() -> None:
    predictions = ["the cat sat on the mat", "a dog ran to me today"]
    references = [["a cat sat on the mat", "the cat sat on a mat"], ["a dog ran to me"]]
    streams = [["a cat sat on the mat", "a dog ran to me"], ["the cat sat on a mat", None]]
    for name, function in [("bleu", sacrebleu.corpus_bleu), ("chrf", sacrebleu.corpus_chrf)]:
        expected = function(predictions, streams).score
        assert find(name)(predictions, references) == pytest.approx(expected)
    assert find("exact_match")(["b", "c"], [["a", "b"], []]) == 0.5
    assert find("rouge1")(["b"], [["a", "b"]]) == 1


@settings(max_examples=60, deadline=None)
@given(corpus, st.sampled_from(["rouge1", "rouge2", "rougeL"]))
def test_rouge_is_the_mean_f_measure_of_rouge_score(
    pairs: list[tuple[str, str]], kind: str
) -> None:
    scorer = RougeScorer([kind], use_stemmer=False)
    rows = [scorer.score(wanted, given)[kind].fmeasure for given, wanted in pairs]
    assert find(kind)(*split(pairs)) == pytest.approx(sum(rows) / len(rows))


def test_words_are_not_stemmed() -> None:
    assert find("rouge1")(["running quickly"], ["runs quick"]) == 0


def test_exact_match_ignores_outer_white_space_and_nothing_else() -> None:
    assert find("exact_match")(["1998-03-03\n", "a  b", "A"], ["1998-03-03", "a b", "a"]) == 1 / 3


def test_token_f1_is_squads() -> None:
    f1 = find("token_f1")
    assert f1(["The cat, sat!"], ["a CAT sat"]) == 1
    assert f1(["cat sat here now"], ["the cat sat"]) == pytest.approx(2 * 2 / (4 + 2))
    assert f1(["cat cat"], ["cat"]) == pytest.approx(2 / 3)
    assert f1(["", "the", "cat"], ["", "", "the"]) == pytest.approx(2 / 3)
    assert normalized_answer("An apple,  THE pear") == "apple pear"


def test_perplexity_is_over_tokens_and_not_over_rows() -> None:
    perplexity = find("perplexity")
    pairs = [(2.0, 1), (3.0, 9)]
    assert perplexity(pairs, ["", ""]) == pytest.approx(math.exp(0.5))
    assert perplexity([(0.0, 0)], [""]) == 1
    assert math.isfinite(perplexity([(1e9, 1)], [""]))
