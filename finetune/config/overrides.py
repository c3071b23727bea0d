"""The command line's ``key=value``: Hydra's grammar, with every mistake collected."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from finetune.config import places
from finetune.config.refusals import refuse
from finetune.config.schema import SECTIONS
from finetune.errors import did_you_mean, nearest

GROUPS = ("model", "task", "data", "data/clean", "strategy", "recipe")


def parse(arguments: Sequence[str], problems: list[str]) -> list[Override]:
    """Parse overrides, appending a sentence for each that cannot be read.

    A value outside Hydra's grammar, such as a path with spaces or a column template, is taken as
    plain text, so that users need not quote twice.
    """
    parser = OverridesParser.create()
    parsed = []
    for argument in arguments:
        key, separator, value = argument.partition("=")
        if not key.strip("+~ "):
            problems.append(
                f"`{argument}` has no key before the `=`; blanks around it split it up."
            )
            continue
        if not separator and not argument.startswith("~"):
            problems.append(f"`{argument}` is no setting; {bare_word(argument)}")
            continue
        try:
            parsed.append(parser.parse_override(argument))
        except (HydraException, ValueError):  # a number of thousands of digits is a ValueError
            quoted = value.replace("\\", "\\\\").replace("'", "\\'")
            try:
                parsed.append(parser.parse_override(f"{key}='{quoted}'"))
            except HydraException:
                problems.append(
                    f"`{argument}` is not understood: settings are written key=value, and a key "
                    "has letters, digits, _ and dots."
                )
    return parsed


def bare_word(word: str) -> str:
    """Return what may be meant by an argument without a `=`, as the end of a sentence."""
    if word in places.recipe_names():
        return f"a recipe is named by recipe={word}."
    if Path(word).exists():
        return f"data is named by data.path={word}, a run folder by run={word}."
    return "settings are written key=value, without blanks around the `=`."


def is_group(override: Override) -> bool:
    """Tell whether an override picks a member of a group, as `model=tiny/bert` does."""
    return override.key_or_group in GROUPS


def check_groups(overrides: Sequence[Override], problems: list[str]) -> set[str]:
    """Append a sentence for each choice that does not exist, and return the groups of these."""
    wrong = check_sweeps(overrides, problems)
    for override in overrides:
        group = override.key_or_group
        if group in SECTIONS and group not in GROUPS and not override.is_delete():
            if not isinstance(override.value(), dict):  # Hydra would look for a file of that name
                wrong.add(group)
                problems.append(
                    f"`{group}` is a group of keys, got {override.value()!r}; set its keys, "
                    f"such as `{group}.{next(iter(SECTIONS[group].__annotations__))}=…`."
                )
            continue
        if not is_group(override) or override.is_delete() or group in wrong:
            continue
        choice = override.value()
        if choice is None and group != "recipe":
            continue
        if isinstance(choice, str) and places.find(group, choice) is not None:
            continue
        wrong.add(group)
        if isinstance(choice, str):
            problems.append(unknown_choice(group, choice))
        else:
            refuse(choice)
            problems.append(
                f"`{group}` must be the name of a choice, got {choice!r}; see `list {group}`."
            )
    return wrong


def check_sweeps(overrides: Sequence[Override], problems: list[str]) -> set[str]:
    """Append a sentence for each override of several values, and return the keys of these."""
    swept = [override for override in overrides if override.is_sweep_override()]
    problems += [
        f"`{override.input_line}` gives several values: add -m for a run with each, "
        f"or write one list as {override.key_or_group}=[…]."
        for override in swept
    ]
    return {override.key_or_group for override in swept}


def unknown_choice(group: str, choice: str) -> str:
    """Return the sentence for a choice that a group does not have."""
    every = places.group_names(group)
    said = f"`{group}={choice}`"
    if not choice:
        return f"{said} names nothing; see `python -m finetune list {group}`."
    inside = [name for name in every if name.startswith(f"{choice.rstrip('/')}/")]
    if inside:
        return f"{said} is a folder; it has {', '.join(f'`{name}`' for name in inside)}."
    hint = did_you_mean(choice.removesuffix(".yaml").removesuffix(".yml"), every)
    last = [name for name in every if name.rsplit("/", 1)[-1] == choice]
    if last:
        hint = f", did you mean {' or '.join(f'`{name}`' for name in last)}?"
    if group == "recipe" and not hint:
        hint = in_a_folder_like(choice, every)
    if group == "recipe" and choice.endswith((".yaml", ".yml")):
        own = "a recipe of yours is ./recipes/NAME.yaml and named by recipe=NAME"
        return f"{said} does not exist{hint or '.'} Recipes are named, not given as files: {own}."
    if group == "model" and not hint:
        hint = f"; a hub id or folder is given as model.name_or_path={choice}."
    elif group == "data" and (not hint or Path(choice).exists()):
        hint = f"; a file, folder or hub id is given as data.path={choice}."
    where = " in ./recipes or among ours" if group == "recipe" and Path("recipes").is_dir() else ""
    return f"{said} does not exist{where}{hint or f'; see `python -m finetune list {group}`.'}"


def in_a_folder_like(choice: str, every: Sequence[str]) -> str:
    """Return the choices of the folder that a misspelt name is nearest to, or nothing."""
    meant = nearest(choice.split("/")[0], {name.split("/")[0] for name in every if "/" in name})
    inside = [name for name in every if meant and name.startswith(f"{meant[0]}/")]
    return f", did you mean one of {', '.join(f'`{name}`' for name in inside)}?" if inside else ""


def as_hydra(overrides: Sequence[Override]) -> list[str]:
    """Return the overrides for Hydra, keys forced so that our own validation judges them."""
    result = []
    for override in overrides:
        if is_group(override) or override.is_delete():
            result.append(override.input_line or "")
        else:
            value = override.get_value_element_as_str()
            result.append(f"++{override.key_or_group}={value}")
    return [
        line.lstrip("+") if line.startswith(tuple(f"+{g}=" for g in GROUPS)) else line
        for line in result
    ]
