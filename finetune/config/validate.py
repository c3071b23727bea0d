"""Check plain values against a dataclass: every problem at once, with the nearest names."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Iterable
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from finetune.config import names
from finetune.config.synonyms import INSTEAD, SYNONYMS, VALUES
from finetune.errors import did_you_mean, nearest


def build(schema: type, values: Any, path: str, problems: list[str]) -> Any:
    """Make an instance of a dataclass from plain values, appending each problem found.

    Args:
        schema: The dataclass.
        values: What was composed for it; anything but a mapping is a problem.
        path: Dotted key of this node, for the messages; empty at the root.
        problems: Grows by one sentence per problem.

    Returns:
        The instance; fields in trouble keep their defaults.
    """
    if values is None:
        values = {}
    if not isinstance(values, dict):
        first = next(item.name for item in dataclasses.fields(schema) if item.init)
        problems.append(
            f"`{path}` is a group of keys, got {describe(values)}; "
            f"set its keys, such as `{path}.{first}=…`."
        )
        return schema()
    hints = get_type_hints(schema)
    fields = {item.name: item for item in dataclasses.fields(schema) if item.init}
    arguments: dict[str, Any] = {}
    for key, value in values.items():
        dotted = f"{path}.{key}" if path else str(key)
        if key not in fields:
            problems.append(unknown_key(path, str(key), fields))
            continue
        before = len(problems)
        checked = check(hints[key], value, dotted, problems)
        if len(problems) == before:
            in_range(checked, fields[key].metadata, dotted, problems)
        if len(problems) == before:
            arguments[key] = checked
    return schema(**arguments)


def unknown_key(path: str, key: str, siblings: Iterable[str]) -> str:
    """Return the sentence for a key that does not exist, with those that may be meant."""
    siblings = list(siblings)
    prefix = f"{path}." if path else ""
    word, elsewhere = key.lower(), names.dotted_keys()
    if having := names.strategies_with(f"{prefix}{key}"):
        instead = f"; {INSTEAD[key]}" if key in INSTEAD else ""
        return f"`{prefix}{key}` is a key of {' and '.join(having)}, not of this one{instead}."
    meant = [SYNONYMS[word]] if word in SYNONYMS else []
    meant += [f"{prefix}{name}" for name in nearest(key, siblings)]
    if not meant:
        meant += elsewhere.get(word, ())
    if not meant:
        meant += [dotted for name in nearest(key, elsewhere) for dotted in elsewhere[name]]
    if meant:
        hint = " or ".join(f"`{name}`" for name in list(dict.fromkeys(meant))[:3])
        return f"`{prefix}{key}` is unknown, did you mean {hint}?"
    where = f"`{path}` has" if path else "the keys at the top are"
    return f"`{prefix}{key}` is unknown; {where}: {', '.join(sorted(siblings))}."


def describe(value: Any) -> str:
    """Name a value and its type for a message, short."""
    try:
        text = repr(value)
    except ValueError:  # a whole number beyond what Python turns into digits
        text = "a number of thousands of digits"
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(value).__name__})"


def check(hint: Any, value: Any, path: str, problems: list[str]) -> Any:
    """Return the value as the type asks for, or append why it cannot be."""
    if hint is Any:
        return value
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return check_union(get_args(hint), value, path, problems)
    if origin is Literal:
        return check_literal(get_args(hint), value, path, problems)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return build(hint, value, path, problems)
    if origin is list:
        return check_list(get_args(hint)[0], value, path, problems)
    if origin is dict:
        if not isinstance(value, dict):
            problems.append(f"`{path}` must be a mapping, got {describe(value)}.")
            return value
        return {
            str(k): check(get_args(hint)[1], v, f"{path}.{k}", problems) for k, v in value.items()
        }
    return check_scalar(hint, value, path, problems)


def check_union(options: tuple[Any, ...], value: Any, path: str, problems: list[str]) -> Any:
    """Return the value as the first member of the union that takes it."""
    if value is None and type(None) in options:
        return None
    attempts: list[list[str]] = []
    for option in options:
        if option is type(None):
            continue
        found: list[str] = []
        checked = check(option, value, path, found)
        if not found:
            return checked
        attempts.append(found)
    if len(attempts) == 1:
        problems.extend(attempts[0])
    else:
        problems.append(f"`{path}` must be {wanted(options)}, got {describe(value)}.")
    return value


def wanted(options: tuple[Any, ...]) -> str:
    """Name the members of a union for a message."""
    names = []
    for option in options:
        if option is type(None):
            names.append("null")
        elif get_origin(option) is Literal:
            names += [str(item) for item in get_args(option)]
        else:
            names.append(
                NAMES.get(option, getattr(get_origin(option) or option, "__name__", str(option)))
            )
    return " or ".join(names)


def check_literal(options: tuple[Any, ...], value: Any, path: str, problems: list[str]) -> Any:
    """Return the value when it is one of the choices."""
    for option in options:
        if value == option and type(value) is type(option):
            return value
    word = value if isinstance(value, str) else ""
    meant = VALUES.get(word.lower())
    hint = (
        f", did you mean `{meant}`, which is the name of it here?"
        if meant in options
        else did_you_mean(word, [str(option) for option in options])
    )
    choices = ", ".join("null" if option is None else str(option) for option in options)
    problems.append(f"`{path}` must be one of {choices}; got {describe(value)}{hint or '.'}")
    return value


def check_list(item: Any, value: Any, path: str, problems: list[str]) -> Any:
    """Return the value as a list of the item type; one bare value stands for a list of one."""
    if value is None:
        return []
    if not isinstance(value, list):
        value = [value]
    return [check(item, entry, f"{path}[{index}]", problems) for index, entry in enumerate(value)]


NAMES = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    type(None): "null",
}


def check_scalar(hint: Any, value: Any, path: str, problems: list[str]) -> Any:
    """Return a bool, int, float, str or None, refusing what only looks like one."""
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            problems.append(f"`{path}` must be a finite number, got {describe(value)}.")
        return number
    if hint is str and type(value) is int and value.bit_length() < 1000:
        return str(value)  # `data.columns.label=2024` or `name=7`: YAML reads digits as a number
    if hint is str and isinstance(value, (float, bool)):
        problems.append(
            f"`{path}` must be text, got {describe(value)}; quote it twice on the command line "
            f"(`{path}=\"'…'\"`), once in YAML."
        )
        return value
    if hint is type(None) and value is None:
        return None
    if (
        isinstance(hint, type)
        and isinstance(value, hint)
        and (hint is bool or not isinstance(value, bool))
    ):
        return value
    problems.append(f"`{path}` must be {NAMES.get(hint, str(hint))}, got {describe(value)}.")
    return value


def in_range(
    value: Any, metadata: typing.Mapping[str, Any], path: str, problems: list[str]
) -> None:
    """Append a problem when a number lies outside the bounds of its field."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return
    low, high, above = metadata.get("low"), metadata.get("high"), metadata.get("above")
    if low is not None and value < low:
        problems.append(f"`{path}` must be at least {low:g}, got {describe(value)}.")
    if above is not None and value <= above:
        problems.append(f"`{path}` must be above {above:g}, got {describe(value)}.")
    if high is not None and value > high:
        problems.append(f"`{path}` must be at most {high:g}, got {describe(value)}.")
