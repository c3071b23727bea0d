"""Near-duplicates of text: what is found, what is not, and that neither depends on the order."""

import json
import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.data.near.text import find_near
from finetune.errors import DataError

LONG = (
    "I went to the shop near the station this morning and tried to pay with the new card, "
    "but the machine refused it twice and the lady at the till sent me away without my shopping"
)


def clusters(texts, **options):
    return find_near([pa.table({"text": pa.array(texts, pa.string())})], **options).clusters


def groups(numbers):
    found = {}
    for row, number in enumerate(numbers.tolist()):
        if number >= 0:
            found.setdefault(number, set()).add(row)
    return {frozenset(rows) for rows in found.values()}


def near(one, other, **options):
    numbers = clusters([one, "something else altogether", other], **options)
    assert numbers[1] == -1
    return bool(numbers[0] == numbers[2] != -1)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("My card is gone!", "my CARD is gone"),
        ("My card  is\tgone", " My card is gone "),
        ("¿Dónde está mi tarjeta?", "Donde esta mi tarjeta"),
        ("I don't know", "I don’t know"),
        ("ＡＢＣ full width", "abc full width"),
        ("Straße", "STRASSE"),
        ("ok", "OK!"),
        (LONG, LONG.replace("refused", "refsed")),
        (LONG, LONG.replace("tried", "please tried")),
        (LONG, LONG.replace("near the station ", "")),
    ],
)
def test_variants_of_a_text_are_near(one, other):
    assert near(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("transfer failed on 12 May", "transfer failed on 13 May"),
        (
            "My transfer to my friend's account failed on 12 May, what should I do now?",
            "My transfer to my friend's account failed on 13 May, what should I do now?",
        ),
        (
            "Buy 7 or ٧ of them, please, and send them over",
            "Buy 7 or ٨ of them, please, and send them over",
        ),
        ("How do I activate my card", "How do I deactivate my card"),
        ("yes", "no"),
        ("ab", "abc"),
        ("...", "?!"),
        ("ha ha", "ha ha ha ha ha ha ha ha"),
        ("my cat is ill", "my car is ill"),
    ],
)
def test_minimal_pairs_that_mean_different_things_are_not(one, other):
    assert not near(one, other)


def test_rows_without_text_are_never_near_each_other():
    assert clusters([None, None, "", "", " ", " ", "\t", "a", "a"]).tolist() == [-1] * 7 + [0, 0]


@pytest.mark.parametrize("texts", [[], ["one"], [None]])
def test_next_to_nothing_has_no_duplicates(texts):
    found = find_near([pa.table({"text": pa.array(texts, pa.string())})])
    assert found.clusters.tolist() == [-1] * len(texts)
    assert not len(found.left)
    assert found.kept().all()


def test_no_table_at_all_is_no_row_at_all():
    assert find_near([]).clusters.tolist() == []


def test_ten_thousand_equal_texts_are_one_cluster():
    found = find_near([pa.table({"text": ["the same"] * 10_000})])
    assert set(found.clusters.tolist()) == {0}
    assert len(found.left) == 9_999
    assert found.kept().sum() == 1


def test_many_variants_of_one_template_are_one_cluster_at_little_cost():
    names = [
        f"{one}{other}{third}"
        for one in "abcdefghij"
        for other in "klmnopqrst"
        for third in "uvwxyz"
    ]
    found = find_near([pa.table({"text": [LONG.replace("lady", name) for name in names]})])
    assert set(found.clusters.tolist()) == {0}
    assert len(found.left) < 3 * len(names)


def test_the_first_row_of_a_copied_text_stays():
    found = find_near([pa.table({"text": ["a b c", "other", "A b c", "a b c!"]})])
    assert found.kept().tolist() == [True, True, False, False]
    assert found.left.tolist() == [0, 0]
    assert found.right.tolist() == [2, 3]


def test_tables_are_numbered_through_and_columns_are_joined():
    one = pa.table({"a": ["left", "solo"], "b": ["right hand side of it", "x"]})
    two = pa.table({"b": ["right hand side of it!"], "a": ["LEFT"], "more": [1]})
    assert find_near([one, two], ["a", "b"]).clusters.tolist() == [0, -1, 0]


def test_conversations_are_compared_by_all_that_is_said():
    def turn(*contents):
        return [{"role": "user", "content": content} for content in contents]

    kind = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    rows = [
        turn("Where is my card?", "On its way."),
        turn("x", None),
        None,
        turn("where is my card", "ON ITS WAY"),
    ]
    table = pa.table({"messages": pa.array(rows, kind)})
    assert find_near([table], ["messages"]).clusters.tolist() == [0, -1, -1, 0]
    assert find_near([table.slice(1)], ["messages"]).clusters.tolist() == [-1, -1, -1]


def test_the_same_question_with_another_answer_is_no_duplicate():
    table = pa.table(
        {
            "source": [
                "the third of march 1998",
                "The third of March, 1998",
                "the third of march 1998",
            ],
            "target": ["1998-03-03", "1998-03-03", "2001-07-21"],
        }
    )
    assert find_near([table], ["source"]).clusters.tolist() == [0, 0, 0]
    assert find_near([table], ["source"], targets=["target"]).clusters.tolist() == [0, 0, -1]


def test_thousands_of_answers_to_one_question_are_still_searched():
    answers = [f"{number * 7919} is what I would say" for number in range(2_000)]
    table = pa.table({"source": ["why?"] * 2_001, "target": [*answers, answers[1_234].upper()]})
    found = find_near([table], ["source"], targets=["target"]).clusters
    assert found[1_234] == found[2_000] == 0
    assert (found == -1).sum() == 1_999


def test_a_column_without_text_is_refused_by_name():
    with pytest.raises(DataError, match=r"`n`.*int64"):
        find_near([pa.table({"n": [1, 2]})], ["n"])


def test_a_text_of_millions_of_characters_is_compared_by_its_beginning():
    text = "".join(random.Random(0).choices("abcdefgh ", k=1_200_000))
    assert clusters([text, text[:-5]]).tolist() == [0, 0]


texts_of_all_kinds = st.lists(
    st.one_of(
        st.none(),
        st.text(max_size=40),
        st.sampled_from([LONG, LONG.upper(), LONG + "?", LONG[:-9]]),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(texts=texts_of_all_kinds, draw=st.randoms(use_true_random=False))
def test_whatever_the_text_every_pair_is_near_and_the_order_of_rows_is_no_matter(texts, draw):
    found = find_near([pa.table({"text": pa.array(texts, pa.string())})])
    assert all(found.similarity >= 0.8)
    for number in set(found.clusters.tolist()) - {-1}:
        members = set(np.flatnonzero(found.clusters == number).tolist())
        head = int(found.representatives[number])
        partners = set(found.right[found.left == head].tolist())
        assert members <= partners | {head}
    order = list(range(len(texts)))
    draw.shuffle(order)
    shuffled = clusters([texts[row] for row in order])
    assert groups(found.clusters) == {
        frozenset(order[row] for row in rows) for rows in groups(shuffled)
    }


def test_chains_of_variants_are_cut_the_same_way_in_any_order_of_rows():
    draw = random.Random(3)
    words = [
        f"{draw.choice('bdfgk')}{draw.choice('aeiou')}{draw.randrange(99)}x" for _ in range(200)
    ]
    texts = []
    for _ in range(30):
        text = draw.sample(words, 14)
        for _ in range(12):
            text = list(text)
            text[draw.randrange(14)] = draw.choice(words)
            texts.append(" ".join(text).translate({48 + digit: 97 + digit for digit in range(10)}))
    order = draw.sample(range(len(texts)), len(texts))
    found, shuffled = clusters(texts), clusters([texts[row] for row in order])
    assert len(groups(found)) > 30
    assert groups(found) == {frozenset(order[row] for row in rows) for rows in groups(shuffled)}


def test_the_number_of_threads_and_the_cut_into_batches_are_no_matter(monkeypatch):
    draw = random.Random(1)
    words = [f"w{draw.randrange(300)}" for _ in range(40_000)]
    texts = [" ".join(words[place : place + 20]) for place in range(0, 20_000, 9)]
    texts += [text.upper() for text in texts[::50]]
    table = pa.table({"text": texts})
    whole = find_near([table], workers=1)
    parts = find_near([table.slice(0, 7), table.slice(7, 501), table.slice(508)], workers=3)
    assert whole.clusters.tolist() == parts.clusters.tolist()
    assert whole.left.tolist() == parts.left.tolist()
    assert whole.similarity.tolist() == parts.similarity.tolist()


def planted(texts, change, length):
    chosen = [text for text in texts if length[0] <= len(text) < length[1]][:300]
    changed = [change(text) for text in chosen]
    numbers = find_near([pa.table({"text": chosen + changed})]).connected()
    return float(np.mean(numbers[: len(chosen)] == numbers[len(chosen) :]))


def typo(text):
    place = random.Random(text).randrange(len(text))
    return text[:place] + "q" + text[place + 1 :]


def without_a_word(text):
    words = text.split(" ")
    del words[random.Random(text).randrange(len(words))]
    return " ".join(words)


@pytest.mark.parametrize(
    ("change", "length", "least"),
    [
        (str.upper, (5, 10_000), 1.0),
        (lambda text: text.replace(" ", "   ") + " !", (5, 10_000), 1.0),
        (lambda text: text.replace("e", "é"), (5, 10_000), 1.0),
        (typo, (60, 120), 0.97),
        (typo, (120, 10_000), 0.99),
        (lambda text: "please " + text, (60, 10_000), 0.97),
        (without_a_word, (60, 120), 0.88),
        (without_a_word, (120, 10_000), 0.98),
    ],
)
def test_planted_variants_of_real_questions_are_found(shared, change, length, least):
    import pyarrow.csv

    table = pyarrow.csv.read_csv(
        shared("text_cls_banking77") / "train.csv",
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
    )
    assert planted(table["text"].to_pylist(), change, length) >= least


def test_real_exercises_with_like_words_are_not_near(shared):
    lines = (shared("instruct_gsm8k") / "train.jsonl").read_text(encoding="utf-8").splitlines()
    found = clusters([json.loads(line)["question"] for line in lines])
    assert (found >= 0).sum() == 0
