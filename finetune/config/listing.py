"""What `list` prints: recipes, choices of a group, keys of a section."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import json
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin, get_type_hints

from finetune.config import places
from finetune.config.names import group_in
from finetune.config.overrides import GROUPS
from finetune.config.schema import SECTIONS, FullStrategy, LoraStrategy, PeftStrategy
from finetune.errors import ConfigError, did_you_mean


def text(what: str | None) -> str:
    """Return the listing of a group or section, or of everything there is.

    Raises:
        ConfigError: There is no such group or section.
    """
    if what is None:
        groups = ", ".join(GROUPS)
        return (
            f"recipes (recipe=NAME)\n{choices('recipe')}\n"
            f"list GROUP: choices of {groups}\nlist SECTION: keys of {', '.join(KEYS)}\n"
        )
    if what in ("recipe", "recipes"):
        return choices("recipe")
    what = what.split(".")[0].split("=")[0]
    listed = f"choices ({what}=NAME)\n{choices(what)}" if what in GROUPS else ""
    for title, schema in KEYS.get(what, {}).items():
        listed += "\n" if listed else ""
        listed += f"keys{title} ({what}.KEY=value)\n{keys_of(schema)}"
    if listed:
        return listed
    known = tuple(dict.fromkeys((*GROUPS, *KEYS)))
    raise ConfigError(
        f"There is nothing called `{what}` to list"
        f"{did_you_mean(what, known) or '; there are: ' + ', '.join(known) + '.'}"
    )


KEYS: dict[str, dict[str, type]] = {
    **{name: {"": schema} for name, schema in SECTIONS.items()},
    "strategy": {
        " without an adapter": FullStrategy,
        " of LoRA": LoraStrategy,
        " of any other peft_type": PeftStrategy,
    },
}
"""Section → what distinguishes several sets of keys → the schema."""


def choices(group: str) -> str:
    """Return a line for each choice of a group: its name and what it says of itself."""
    names = places.group_names(group)
    width = max((len(name) for name in names), default=0)
    lines = []
    for name in names:
        file = places.find(group, name)
        lines.append(f"  {name:<{width}}  {places.first_line(file) if file else ''}".rstrip())
    return "\n".join(lines) + "\n"


def keys_of(schema: type) -> str:
    """Return a line for each key of a section: name, default, what it means, what it may be."""
    rows = list(rows_of(schema))
    width = max((len(name) for name, _, _ in rows), default=0)
    lines = [f"  {name:<{width}}  {default:<18} {meaning}" for name, default, meaning in rows]
    return "\n".join(lines) + "\n"


def rows_of(schema: type, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield name, default and meaning of each key, those of nested groups with their prefix."""
    meanings, hints = docstrings(schema), get_type_hints(schema)
    for field in dataclasses.fields(schema):
        inner = group_in(hints[field.name])
        if inner is not None:
            yield from rows_of(inner, f"{prefix}{field.name}.")
            continue
        default: Any = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        allowed = choices_in(hints[field.name])
        meaning = meanings.get(field.name, "")
        yield (
            f"{prefix}{field.name}",
            json.dumps(default) if not isinstance(default, str) else default or '""',
            f"{meaning} One of: {', '.join(allowed)}." if len(allowed) > 1 else meaning,
        )


def choices_in(hint: Any) -> list[str]:
    """Return the literal values that a type names, in lists and unions too."""
    if get_origin(hint) is Literal:
        return [str(item) for item in get_args(hint)]
    return [name for item in get_args(hint) for name in choices_in(item)]


def docstrings(schema: type) -> dict[str, str]:
    """Return the docstring that follows each field of a dataclass."""
    tree = ast.parse(inspect.getsource(schema))
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    found = {}
    for statement, following in itertools.pairwise(body):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
        ):
            found[statement.target.id] = str(following.value.value)
    return found
