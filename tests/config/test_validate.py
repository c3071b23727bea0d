"""Every key of the schema: a misspelling names the right one, a wrong type or range is told."""

from __future__ import annotations

import copy
import dataclasses
import types
import typing
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from finetune import tasks
from finetune.config import names
from finetune.config.compose import validate
from finetune.config.schema import SECTIONS, LoraStrategy
from finetune.config.validate import build, unknown_key
from finetune.errors import ConfigError

QUIET = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def fields_of(schema: type, path: str) -> typing.Iterator[tuple[str, type, Any]]:
    """Yield dotted key, holder and field of every value, nested groups included."""
    hints = get_type_hints(schema)
    for field in dataclasses.fields(schema):
        inner = names.group_in(hints[field.name])
        if inner:
            yield from fields_of(inner, f"{path}.{field.name}")
        else:
            yield f"{path}.{field.name}", schema, field


EVERY = {
    dotted: (holder, field)
    for name, schema in {**SECTIONS, "strategy": LoraStrategy}.items()
    for dotted, holder, field in fields_of(schema, name)
    if dotted != "strategy.peft_type"  # decides which keys there are: another is no mistake
}
SCHEMA = sorted(EVERY)


def problems_of(plain: dict[str, Any], key: str, value: Any) -> list[str]:
    """Return what is said of a configuration with one key set."""
    changed = copy.deepcopy(plain)
    *parents, leaf = key.split(".")
    holder = changed
    for part in parents:
        holder = holder[part]
    holder[leaf] = value
    try:
        validate(changed, task_schema=tasks.find)
    except ConfigError as error:
        return error.problems
    return []


def edits(word: str) -> st.SearchStrategy[str]:
    """Return words one edit away: a letter missing, doubled, swapped or other."""
    places = st.integers(0, len(word) - 1)
    return st.one_of(
        places.map(lambda i: word[:i] + word[i + 1 :]),
        places.map(lambda i: word[: i + 1] + word[i:]),
        places.map(lambda i: word[:i] + word[i : i + 2][::-1] + word[i + 2 :]),
        st.tuples(places, st.sampled_from("aeistz")).map(
            lambda pair: word[: pair[0]] + pair[1] + word[pair[0] + 1 :]
        ),
    )


@QUIET
@given(st.data())
def test_a_key_misspelt_by_one_edit_is_refused_and_the_right_one_named(plain, data):
    key = data.draw(st.sampled_from(SCHEMA))
    path, _, leaf = key.rpartition(".")
    wrong = data.draw(edits(leaf).filter(bool))
    holder, _ = EVERY[key]
    if wrong in {field.name for field in dataclasses.fields(holder)}:
        return
    [problem] = problems_of(plain, f"{path}.{wrong}", 1)
    assert problem.startswith(f"`{path}.{wrong}` is unknown")
    assert f"`{key}`" in problem or f" {leaf}," in f"{problem.split(':')[-1][:-1]},"


@QUIET
@given(st.data())
def test_a_section_misspelt_by_one_edit_is_refused_and_the_right_one_named(plain, data):
    name = data.draw(st.sampled_from(names.ROOT))
    wrong = data.draw(edits(name).filter(lambda word: word and word not in names.ROOT))
    problems = problems_of(plain, wrong, {"x": 1})
    assert any(f"`{wrong}` is unknown" in text and f"`{name}`" in text for text in problems)


def test_a_key_of_another_section_is_named_with_its_section():
    assert "`seed`" in unknown_key("train", "seed", ["optim"])
    assert "`train.learning_rate`" in unknown_key("", "learning_rat", names.ROOT)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["strategy=lora", "strategy.freeze=[encoder]"],
            "`strategy.freeze` is a key of strategy=full, not of this one; beside an adapter all",
        ),
        (["strategy=full", "strategy.r=8"], "`strategy.r` is a key of strategy=lora, not of this"),
    ],
)
def test_a_key_of_another_strategy_is_not_offered_for_itself(refused, arguments, said):
    [problem] = refused(*arguments).problems
    assert said in problem


def kinds(hint: Any) -> set[type]:
    """Return the Python types that a type takes."""
    if get_origin(hint) in (Union, types.UnionType):
        return set().union(*(kinds(item) for item in get_args(hint)))
    if get_origin(hint) is Literal:
        return {type(item) for item in get_args(hint)}
    if get_origin(hint) in (list, dict):
        return {get_origin(hint), *(kinds(get_args(hint)[0]) if get_origin(hint) is list else ())}
    found = {hint}
    found |= {int} if hint in (float, str) else set()  # 3 is a number with a point, 7 a name
    return found


WRONG = [3, 2.5, True, "no such word", ["no such word"], {"a": 1}, None, float("nan"), 10**5000]


@pytest.mark.parametrize("key", SCHEMA)
def test_a_value_of_a_wrong_type_is_told_by_its_key(key, plain):
    holder, field = EVERY[key]
    hint = get_type_hints(holder)[field.name]
    may = kinds(hint)
    tried = 0
    for value in WRONG:
        if type(value) in may or hint is Any or (value is None and list in may | {dict}):
            continue
        if type(value) is list and may & {type(item) for item in value}:
            continue
        tried += 1
        problems = problems_of(plain, key, value)
        assert problems, f"{key}={value!r} was taken"
        assert any(f"`{key}" in text for text in problems)
        assert all(len(text) < 600 and "\n" not in text for text in problems)
    assert tried or hint is Any


@pytest.mark.parametrize("key", [key for key in SCHEMA if EVERY[key][1].metadata])
def test_a_number_outside_its_bounds_is_told_by_its_key(key, plain):
    bounds = EVERY[key][1].metadata
    outside = []
    if bounds["low"] is not None:
        outside.append(type(bounds["low"])(bounds["low"] - 1))
    if bounds["above"] is not None:
        outside.append(bounds["above"])
    if bounds["high"] is not None:
        outside.append(bounds["high"] + 1)
    assert outside
    for value in outside:
        assert any(f"`{key}` must be" in text for text in problems_of(plain, key, value))


CHOICES = [
    key
    for key in SCHEMA
    if get_origin(get_type_hints(EVERY[key][0])[EVERY[key][1].name]) is Literal
]


@pytest.mark.parametrize("key", CHOICES)
def test_a_misspelt_choice_names_the_choices_and_the_nearest(key, plain):
    holder, field = EVERY[key]
    options = [str(item) for item in get_args(get_type_hints(holder)[field.name])]
    [problem] = problems_of(plain, key, f"{options[-1]}x")
    assert all(option in problem for option in options)


@QUIET
@given(
    key=st.sampled_from(SCHEMA),
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
        ),
        max_leaves=6,
    ),
)
@example(key="train.weight_decay", value=10**400)
@example(key="train.max_steps", value=-(10**5000))
def test_any_value_at_all_is_taken_or_told_but_never_a_crash(plain, key, value):
    for text in problems_of(plain, key, value):
        assert "\n" not in text


def test_all_problems_are_told_at_once(plain):
    changed = copy.deepcopy(plain)
    changed["train"] |= {"max_stps": 1, "learning_rate": "fast", "warmup_ratio": 2.0}
    changed["data"]["split"]["trian"] = 0.5
    changed["seed"] = -1
    changed["sede"] = 1
    with pytest.raises(ConfigError) as caught:
        validate(changed, task_schema=tasks.find)
    said = " ".join(caught.value.problems)
    assert len(caught.value.problems) == 6
    for key in ("max_stps", "learning_rate", "warmup_ratio", "split.trian", "seed", "sede"):
        assert key in said


def test_a_group_given_as_a_value_names_a_key_to_set(refused):
    [problem] = refused("data.split=0.8").problems
    assert "`data.split` is a group of keys" in problem
    assert "`data.split.train=…`" in problem


def test_one_bare_value_stands_for_a_list_of_one():
    @dataclasses.dataclass
    class Schema:
        slices: list[str] = dataclasses.field(default_factory=list)

    problems: list[str] = []
    assert build(Schema, {"slices": "channel"}, "data", problems).slices == ["channel"]
    assert not problems
