import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.data.cleaning.cells import holds_text, joined, put_back, take_out

TURN = pa.struct([("role", pa.string()), ("content", pa.string()), ("weight", pa.int8())])
KINDS = {
    "string": pa.string(),
    "large_string": pa.large_string(),
    "string_view": pa.string_view(),
    "dictionary": pa.dictionary(pa.int16(), pa.string()),
    "list": pa.list_(pa.string()),
    "large_list": pa.large_list(pa.large_string()),
    "list_of_views": pa.list_(pa.string_view()),
    "conversation": pa.list_(TURN),
    "large_conversation": pa.large_list(TURN),
}
WORDS = st.one_of(st.none(), st.sampled_from(["a", "", "ü", "two words"]))
TURNS = st.one_of(
    st.none(), st.fixed_dictionaries({"role": WORDS, "content": WORDS, "weight": st.just(1)})
)


def cells(kind):
    if not pa.types.is_list(kind) and not pa.types.is_large_list(kind):
        return WORDS
    item = TURNS if pa.types.is_struct(kind.value_type) else WORDS
    return st.one_of(st.none(), st.lists(item, max_size=4))


def made(values, kind):
    if pa.types.is_dictionary(kind):
        return pa.array(values, pa.string()).cast(kind)
    return pa.array(values, kind)


@pytest.mark.parametrize("name", KINDS)
@settings(deadline=None, max_examples=50)
@given(data=st.data())
def test_what_is_taken_out_goes_back_where_it_was_even_from_a_slice(name, data):
    kind = KINDS[name]
    values = data.draw(st.lists(cells(kind), max_size=6))
    start, length = data.draw(st.integers(0, 6)), data.draw(st.integers(0, 6))
    column = made(values, kind).slice(min(start, len(values)), length)
    texts = take_out(column)
    after = put_back(column, texts.flat)
    assert after.type == kind
    after.validate(full=True)
    assert after.to_pylist() == column.to_pylist()


@pytest.mark.parametrize("name", KINDS)
@settings(deadline=None, max_examples=50)
@given(data=st.data())
def test_every_text_knows_its_row_and_its_place_there(name, data):
    kind = KINDS[name]
    values = data.draw(st.lists(cells(kind), max_size=6))
    column = made([None, *values], kind).slice(1)
    texts = take_out(column)
    for place, text in enumerate(texts.flat.to_pylist()):
        position = texts.position(place)
        if position is None:
            assert values[place] == text
            continue
        item = values[texts.rows[place]][position]
        assert (item and item["content"] if "conversation" in name else item) == text


def test_all_that_a_conversation_says_is_one_text():
    turns = [{"role": "u", "content": "a"}, None, {"role": "u", "content": None}]
    column = pa.array([[*turns, {"role": "u", "content": "b"}], None, []], pa.list_(TURN))
    assert joined(column, take_out(column)).to_pylist() == ["a\n\n\nb", None, ""]


@pytest.mark.parametrize(
    "kind",
    [
        pa.int64(),
        pa.null(),
        pa.binary(),
        pa.list_(pa.int8()),
        pa.struct([("content", pa.string())]),
        pa.list_(pa.struct([("role", pa.string())])),
        pa.list_(pa.struct([("content", pa.list_(pa.string()))])),
        pa.dictionary(pa.int8(), pa.int64()),
    ],
    ids=str,
)
def test_other_columns_hold_no_text(kind):
    assert not holds_text(kind)


def test_the_other_fields_of_a_turn_stay():
    turns = [{"role": "u", "content": "a", "weight": 2}, {"role": None, "content": "b"}]
    column = pa.array([turns], pa.list_(TURN))
    after = put_back(column, pa.array(["x", "y"])).to_pylist()
    assert after == [
        [
            {"role": "u", "content": "x", "weight": 2},
            {"role": None, "content": "y", "weight": None},
        ]
    ]
