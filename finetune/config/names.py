"""Every dotted key there is, for the hint of an unknown one."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterator
from functools import cache
from typing import Union, get_args, get_origin, get_type_hints

from finetune.config.schema import SECTIONS, FullStrategy, LoraStrategy, PeftStrategy

STRATEGIES = {
    "strategy=full": FullStrategy,
    "strategy=lora": LoraStrategy,
    "other adapters": PeftStrategy,
}
ROOT = tuple(
    dict.fromkeys(("recipe", "name", "seed", "model", "task", "data", "strategy", *SECTIONS))
)


def group_in(hint: object) -> type | None:
    """Return the dataclass that a type asks for, alone or beside null."""
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    found = [item for item in options if isinstance(item, type) and dataclasses.is_dataclass(item)]
    return found[0] if found else None


def leaves(schema: type, path: str) -> Iterator[str]:
    """Yield the dotted key of every field that holds a value."""
    hints = get_type_hints(schema)
    for field in dataclasses.fields(schema):
        if field.init:
            inner = group_in(hints[field.name])
            dotted = f"{path}.{field.name}"
            yield from leaves(inner, dotted) if inner else (dotted,)


@cache
def dotted_keys() -> dict[str, tuple[str, ...]]:
    """Return, for each last part of a key, the dotted keys that end in it; the task's apart."""
    schemas = [
        *((schema, name) for name, schema in SECTIONS.items()),
        *((schema, "strategy") for schema in STRATEGIES.values()),
    ]
    found: dict[str, dict[str, None]] = {"seed": {"seed": None}, "name": {"name": None}}
    for schema, path in schemas:
        for dotted in leaves(schema, path):
            found.setdefault(dotted.rsplit(".", 1)[-1], {})[dotted] = None
    return {leaf: tuple(keys) for leaf, keys in found.items()}


def strategies_with(dotted: str) -> list[str]:
    """Return what the strategies are called that have a key."""
    return [name for name, schema in STRATEGIES.items() if dotted in leaves(schema, "strategy")]
